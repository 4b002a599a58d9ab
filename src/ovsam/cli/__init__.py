"""The command `ovsam`."""
