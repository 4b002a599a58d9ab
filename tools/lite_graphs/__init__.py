"""Writes the graphs of `lite` that ship."""
