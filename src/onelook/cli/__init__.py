"""One file per sub-command: arguments to recipe."""
