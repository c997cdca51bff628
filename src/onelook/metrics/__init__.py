"""From detections and labels to numbers."""
