"""Writes the built-in vocabularies from the packages that carry their names: see `__main__.py`."""
