"""Arithmetic on boxes, images and planes; no files, no models."""
