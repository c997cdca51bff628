"""Plots of datasets, trainings, evaluations and searches; one file per kind."""
