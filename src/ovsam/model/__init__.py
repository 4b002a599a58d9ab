"""The model, step by step: modules that know nothing of files; `ovsam.py` joins them."""
