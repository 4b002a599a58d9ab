"""The stages of training: distil, label, joint."""
