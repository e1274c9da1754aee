"""The implementations of nodes: one module per outside system."""
