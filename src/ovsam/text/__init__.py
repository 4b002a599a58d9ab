"""The text side of the model: class names to vectors."""
