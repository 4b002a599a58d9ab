"""How long the parts of a model's work take on this machine, and how much memory."""
