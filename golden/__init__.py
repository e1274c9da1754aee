"""The comparison of two runs and of a run with what was accepted."""
