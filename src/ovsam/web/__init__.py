"""The local page of `ovsam demo`: a small HTTP service over one predictor, and its static files."""
