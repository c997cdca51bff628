"""Search of hyper-parameters; knows no data and no model, only what a set of hyper-parameters is worth."""
