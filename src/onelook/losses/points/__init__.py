"""Losses of heads without anchors: each cell of each map is a point that predicts one box."""
