"""Names objects on photos without names, for `ovsam train lite-names`: see `__main__.py`."""
