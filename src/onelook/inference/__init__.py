"""From images to detections: sources, backends, predictor, evaluator, tiles, test-time augmentation."""
