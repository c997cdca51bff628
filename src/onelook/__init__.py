"""Onelook trains, validates and runs object detectors."""
