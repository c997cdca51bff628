"""The layouts that exported models give their predictions in, and the way back from each.

Other programs that read detectors expect one of these; the arithmetic before is the same.

Letters: B images, N boxes of an image, K classes, s pixels per cell.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy, xyxy_to_cxcywh
from onelook.models.decoding import Decoding, confidences, decode_points, shared_scores

END_TO_END_DETECTIONS = 300
WIDTH_OF_DETECTIONS = 6


def channels_first(predictions: Tensor) -> Tensor:
    """(B, N, 5 + K) predictions as (B, 4 + K, N): cxcywh in pixels, then confidences."""
    return torch.cat([predictions[..., :4], confidences(predictions)], dim=-1).transpose(1, 2)


def from_channels_first(table: Tensor) -> Tensor:
    """What `channels_first` gave as predictions, with an objectness of 1."""
    rows = table.transpose(1, 2)
    return torch.cat([rows[..., :4], torch.ones_like(rows[..., :1]), rows[..., 4:]], dim=-1)


def best_pairs(predictions: Tensor, count: int = END_TO_END_DETECTIONS) -> Tensor:
    """The pairs of a box and a class with the highest confidence, (B, count, 6), highest first.

    In two stages: the boxes with the best classes, and then the best pairs of these. That is exactly the best pairs of
    all, since of a box that is not among the first, every pair has `count` others before it.

    Args:
        predictions: (B, N, 5 + K).
        count: number of pairs; missing ones are rows of confidence 0.

    Returns:
        x1, y1, x2, y2 in pixels, confidence, class.
    """
    by_class = confidences(predictions)
    _, num_boxes, num_classes = by_class.shape
    kept = min(count, num_boxes)
    rows = by_class.amax(dim=2).topk(kept, dim=1).indices  # (B, kept)
    of_rows = by_class.gather(1, rows[..., None].expand(-1, -1, num_classes)).flatten(1)  # (B, kept * K)
    best, pairs = of_rows.topk(min(count, kept * num_classes), dim=1)
    row_numbers = rows.gather(1, pairs.div(num_classes, rounding_mode="floor"))  # (B, n)
    boxes = cxcywh_to_xyxy(predictions[..., :4]).gather(1, row_numbers[..., None].expand(-1, -1, 4))
    classes = pairs.remainder(num_classes).to(best)
    table = torch.cat([boxes, best[..., None], classes[..., None]], dim=-1)
    return torch.nn.functional.pad(table, (0, 0, 0, count - table.shape[1]))


def from_detections(detections: Tensor, num_classes: int) -> Tensor:
    """Detections (B, n, 6) x1, y1, x2, y2, confidence, class as predictions (B, n, 5 + K) that stand for just these."""
    boxes = xyxy_to_cxcywh(detections[..., :4])
    classes = torch.nn.functional.one_hot(detections[..., 5].long(), num_classes)
    return torch.cat([boxes, detections[..., 4:5], classes.to(detections)], dim=-1)


def undecoded(raw_maps: Sequence[Tensor], decoding: Decoding) -> Tensor:
    """Raw maps of a head of YOLOX as its own exports give them, (B, N, 5 + K).

    Boxes stay in cells and logarithms, objectness and classes are probabilities; Ge et al., YOLOX, 2021.

    Args:
        raw_maps: L tensors (B, 1, H, W, 5 + K) of the head, or 6 + K of the branch that needs no NMS.
        decoding: what the head does with its maps.
    """
    values = [raw.float() for raw in raw_maps]
    scores: Sequence[tuple[Tensor, ...]] = [(one[..., 4:].sigmoid(),) for one in values]
    if decoding.is_shared:
        scores = shared_scores(values, decoding)
    rows = [
        torch.cat((one[..., :4], *of_map), dim=-1).flatten(1, 3) for one, of_map in zip(values, scores, strict=True)
    ]
    return torch.cat(rows, dim=1)


def from_undecoded(table: Tensor, strides: Sequence[float], size_hw: tuple[int, int]) -> Tensor:
    """What `undecoded` gave as predictions.

    Args:
        table: (B, N, 5 + K).
        strides: strides of the maps, in their order.
        size_hw: height and width of the images, pixels.

    Raises:
        ValueError: N is not the number of cells that such images have.
    """
    sizes = [(int(size_hw[0] // stride), int(size_hw[1] // stride)) for stride in strides]
    cells = [height * width for height, width in sizes]
    if table.shape[1] != sum(cells):
        raise ValueError(f"it gives {table.shape[1]} boxes, images of {size_hw} have {sum(cells)} cells")
    boxes = [
        decode_points(rows.reshape(len(rows), 1, *size, 4), stride)
        for rows, size, stride in zip(torch.split(table[..., :4], cells, dim=1), sizes, strides, strict=True)
    ]
    return torch.cat([torch.cat(boxes, dim=1), table[..., 4:]], dim=-1)
