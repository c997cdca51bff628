"""The data doctor: what is wrong with a data set, how much it matters, and what cures it."""
