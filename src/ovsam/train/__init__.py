"""Training: losses, the loop of `lite`, and the checkpoint that it writes."""
