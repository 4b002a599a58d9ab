"""Fits what ranks the masks under a click."""
