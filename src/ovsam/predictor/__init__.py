"""Masks and names for prompts on a photo."""
