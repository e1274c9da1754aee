"""Any node of a recorded run, run again alone from the log."""
