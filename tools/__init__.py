"""The `xtrace` command and its reports."""
