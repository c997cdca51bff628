"""Experiment trackers: what a run tells TensorBoard, MLflow and others, without ever waiting for them."""
