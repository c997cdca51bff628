"""The data doctor: faults of a dataset, how severe they are, and their cures."""
