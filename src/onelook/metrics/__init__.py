"""From detections and truth to numbers."""
