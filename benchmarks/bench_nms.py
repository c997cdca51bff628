"""Milliseconds of NMS per image, ours against the plain PyTorch loop, rounds in turn.

    python benchmarks/bench_nms.py --rounds 7 --save

Cases: plain lists of boxes, and decoded predictions of 8,400 rows and 80 classes at confidence 0.001, multi-label, as
a network gives them at the start of training (anything goes) and at its end (clusters around objects). Acceptance:
at least 10 times faster than the loop on the predictions. With `--device cuda` the loop runs there; ours
filters there and compares boxes in main memory.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from record import append_rows
from torch import Tensor

from onelook.geometry.boxes import cxcywh_to_xyxy
from onelook.geometry.nms import greedy, non_max_suppression

CONF, IOU, MAX_DET, MAX_CANDIDATES = 0.001, 0.6, 300, 30_000


def main() -> None:
    """Measure, print, append to the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--save", action="store_true", help="append to results/nms.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows = []
    for name, (ours, plain) in cases(torch.device(arguments.device)).items():
        difference = (ours() - plain().cpu()).abs().max()
        assert difference == 0, f"{name}: results differ by {difference}"
        taken: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.rounds):
            for way, list_of_ms in zip((ours, plain), taken, strict=True):
                list_of_ms.append(milliseconds(way))
        ours_ms, plain_ms = (statistics.median(list_of_ms) for list_of_ms in taken)
        print(f"{name:>32}: ours {ours_ms:8.2f} ms, plain loop {plain_ms:9.2f} ms, {plain_ms / ours_ms:6.1f} times")
        rows.append([name, f"{ours_ms:.2f}", f"{plain_ms:.2f}", f"{plain_ms / ours_ms:.1f}"])
    if arguments.save:
        save(arguments, rows)


def cases(device: torch.device) -> dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]]:
    """Our way and the plain way of each case."""
    rng = torch.Generator().manual_seed(0)
    found: dict[str, tuple[Callable[[], Tensor], Callable[[], Tensor]]] = {}
    for count, side in ((1_000, 640), (1_000, 200), (3_000, 640)):
        boxes = made_boxes(count, side, rng).to(device)
        scores = torch.rand(count, generator=rng).to(device)
        class_ids = torch.randint(0, 20, (count,), generator=rng).to(device)
        found[f"{count} boxes in {side} px"] = (
            lambda b=boxes, s=scores: our_nms(b, s, None),
            lambda b=boxes, s=scores: plain_nms(b, s, IOU),
        )
        found[f"{count} boxes in {side} px, 20 classes"] = (
            lambda b=boxes, s=scores, c=class_ids: our_nms(b, s, c),
            lambda b=boxes, s=scores, c=class_ids: plain_nms(b + c[:, None] * 1024, s, IOU),
        )
    for name, made in (("predictions, first epochs", early), ("predictions, trained", trained)):
        rows = made(rng).to(device)
        found[name] = (
            lambda r=rows: non_max_suppression(r[None], conf_thres=CONF, iou_thres=IOU)[0],
            lambda r=rows: plain_prediction_nms(r),
        )
    return found


def our_nms(boxes: Tensor, scores: Tensor, class_ids: Tensor | None) -> Tensor:
    """Positions of the boxes that are kept, highest score first; in NumPy, as in predictions."""
    order = scores.argsort(descending=True, stable=True).cpu()
    given = [None if values is None else values.cpu()[order].numpy() for values in (boxes, class_ids)]
    return order[torch.as_tensor(greedy(*given, iou_threshold=IOU, max_keep=len(order)))]


def made_boxes(count: int, side: int, rng: torch.Generator) -> Tensor:
    """Boxes of 16 to 96 px, on a grid of 1/8 px, so that shifting them by class rounds nothing."""
    corner = torch.rand(count, 2, generator=rng) * side
    size = 16 + torch.rand(count, 2, generator=rng) * 80
    return (torch.cat([corner, corner + size], dim=1) * 8).round() / 8


def early(rng: torch.Generator) -> Tensor:
    """(8400, 85): boxes anywhere, tens of thousands of scores above the threshold."""
    boxes = made_boxes(8_400, 640, rng)
    scores = torch.rand(8_400, 81, generator=rng) ** 8
    return torch.cat([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2], scores], dim=1)


def trained(rng: torch.Generator) -> Tensor:
    """(8400, 85): 12 objects with about 60 rows each that agree, and a weak background."""
    rows = early(rng)
    rows[:, 4] *= 0.002
    near = torch.randperm(8_400, generator=rng)[:720]
    objects = rows[near[:12]].clone()
    shaken = objects.repeat(60, 1)
    shaken[:, :4] += (torch.randn(720, 4, generator=rng) * 4 * 8).round() / 8
    shaken[:, 4] = torch.rand(720, generator=rng) ** 2
    shaken[:, 5:] = objects[:, 5:].repeat(60, 1) ** 2 * 0.1
    shaken[torch.arange(720), 5 + torch.arange(720) % 12] = 0.9
    rows[near] = shaken
    return rows


def plain_prediction_nms(rows: Tensor) -> Tensor:
    """The usual recipe: threshold, sort, shift boxes by class, loop over what is left, cut at the end."""
    scores = rows[:, 5:] * rows[:, 4:5]
    row, class_ids = ((scores > CONF) & (rows[:, 4:5] > CONF)).nonzero(as_tuple=True)
    scores, boxes = scores[row, class_ids], cxcywh_to_xyxy(rows[:, :4])[row]
    best = scores.argsort(descending=True, stable=True)[:MAX_CANDIDATES]
    boxes, scores, class_ids = boxes[best], scores[best], class_ids[best]
    kept = plain_nms(boxes + class_ids[:, None] * 1024, scores, IOU)[:MAX_DET]
    return torch.cat([boxes, scores[:, None], class_ids[:, None].float()], dim=1)[kept]


def plain_nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Take the best, drop what overlaps it, repeat."""
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while len(order):
        best, order = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[order, :2])
        high = torch.minimum(boxes[best, 2:], boxes[order, 2:])
        overlap = (high - low).clamp(min=0).prod(dim=1)
        order = order[overlap / (area[best] + area[order] - overlap) <= iou_threshold]
    return torch.stack(kept)


def milliseconds(way: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    way().cpu()
    return (time.perf_counter() - start) * 1e3


def save(arguments: argparse.Namespace, rows: list[list[str]]) -> None:
    header = ["case", "ours_ms", "plain_ms", "ratio", "rounds", "threads", "torch"]
    tail = [arguments.rounds, arguments.threads, torch.__version__]
    machine = torch.cuda.get_device_name() if arguments.device.startswith("cuda") else ""
    append_rows("nms", header, ([*row, *tail] for row in rows), machine=machine)


if __name__ == "__main__":
    main()
