"""Augmentation in two steps: `plan.py` draws everything random about a training image, a renderer makes its pixels."""
