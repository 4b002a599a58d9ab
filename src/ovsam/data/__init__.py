"""Photos with masks and names, and the training samples drawn from them."""
