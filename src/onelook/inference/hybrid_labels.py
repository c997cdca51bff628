"""Labels among predictions, as boxes of full certainty: what is labelled already replaces what is found there.

Letters: B images, N boxes of an image, K classes, M labels of an image.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

from onelook.structures.batch import Targets


def with_labels(predictions: Tensor, targets: Targets, *, frame_hw: tuple[int, int]) -> Tensor:
    """Predictions followed by the labels of each image, with objectness 1 and their class certain.

    Args:
        predictions: (B, N, 5 + K) cx, cy, w, h in pixels, objectness, class scores.

    Returns:
        (B, N + M, 5 + K) with the largest M; images with fewer labels have rows of zeros, which are never detections.

    >>> nothing = torch.zeros(1, 0, 7)
    >>> targets = Targets(torch.tensor([0]), torch.tensor([1]), torch.tensor([[0.5, 0.5, 0.25, 0.25]]))
    >>> with_labels(nothing, targets, frame_hw=(64, 96)).tolist()
    [[[48.0, 32.0, 24.0, 16.0, 1.0, 0.0, 1.0]]]
    """
    num_images, num_classes = len(predictions), predictions.shape[2] - 5
    height, width = frame_hw
    if num_images == 0:
        return predictions
    boxes = targets.boxes * torch.tensor([width, height, width, height])
    certain = torch.ones(len(targets), 1)
    rows = torch.cat([boxes, certain, functional.one_hot(targets.class_ids, num_classes)], dim=1)
    labels = pad_sequence([rows[targets.image_index == image] for image in range(num_images)], batch_first=True)
    return torch.cat([predictions, labels.to(predictions)], dim=1)
