"""Formats of other programs, read as data: nothing in a foreign file is ever imported or called."""
