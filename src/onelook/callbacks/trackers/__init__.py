"""Experiment trackers: TensorBoard, MLflow and others; a run never waits for them."""
