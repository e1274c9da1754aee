"""Scenario files: their schema, the loader, recording, and the library of scenarios."""
