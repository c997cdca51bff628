"""Wiring: one screen per job."""
