"""The report of runs: what it needs from a run folder, its sections, the page."""
