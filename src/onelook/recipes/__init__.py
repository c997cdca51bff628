"""Wiring: one screen per job.

Every recipe takes settings by name, `given`, and a YAML `file` with more of them, weaker than `given`: see
`build_settings`.
"""
