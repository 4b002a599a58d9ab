"""Training: recipes, the stages that they describe, and the loop that carries them out."""
