"""Observers of a run; none of them changes it."""
