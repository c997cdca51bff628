"""Detectors as files for other run times, and exported files that run behind one interface."""
