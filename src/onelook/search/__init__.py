"""The search for hyperparameters; it sees neither data nor models, only the scores of trials."""
