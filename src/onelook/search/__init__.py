"""Search of hyperparameters; knows no data and no model, only what a set of hyperparameters is worth."""
