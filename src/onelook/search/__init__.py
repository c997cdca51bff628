"""Search of hyperparameters; knows no data and no model, only the score of a set of hyperparameters."""
