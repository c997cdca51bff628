"""The data doctor: what is wrong with a dataset, how much it matters, and what cures it."""
