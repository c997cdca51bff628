"""Verbs over time: training, evaluating, predicting, saving."""
