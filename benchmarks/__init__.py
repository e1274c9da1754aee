"""Measurements against peers, every ratio from one run: `make bench`."""
