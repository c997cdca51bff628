"""Typed settings: YAML, command line and Python alike."""
