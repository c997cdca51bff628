"""Boxes, text and feature maps drawn into images."""
