"""Detectors as files for other run times, and the way back: exported files that run behind one face."""
