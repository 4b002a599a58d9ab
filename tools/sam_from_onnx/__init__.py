"""Weights of an exported SAM."""
