"""Draw which cells learn which object, with anchors, with SimOTA and one-to-one, as in docs/concepts/heads.md.

    python scripts/draw_assignment.py --weights best.safetensors --data cards.yaml --image queen.jpg --output cells.webp

Every filled square is a cell that learns the object of its colour; large squares are cells of coarse maps. The first
panel follows from the anchors of YOLOv5 and the labels alone; the others from what the given YOLOX predicts.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from onelook.data.dataset import ValidationDataset
from onelook.data.item import collate
from onelook.data.splits import read_splits, scan_options
from onelook.drawing.palette import class_colour
from onelook.losses.assignment import find_candidates
from onelook.losses.points.grid import flatten_maps, point_grid
from onelook.losses.points.yolox_loss import YoloxLoss
from onelook.models.detector import DetectionModel, create_model
from onelook.settings.train import TrainSettings
from onelook.structures.batch import Batch
from onelook.training.weights import read_weights, whole_model

Cell = tuple[int, float, float, float]
"""Target, left, top and side of the square, pixels."""


def main() -> None:
    """Assign and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="a YOLOX with two branches, trained on the dataset")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--image", required=True, help="name of an image of the validation split")
    parser.add_argument("--imgsz", type=int, default=320)
    parser.add_argument("--output", type=Path, required=True, help="a .webp file")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = TrainSettings()
    index = read_splits(arguments.data, ("val",), options=scan_options(settings)).scans["val"].index
    side = arguments.imgsz
    dataset = ValidationDataset(index, imgsz=side, batch_size=1, frame_hw=(side, side))
    number = next(number for number, path in enumerate(index.paths) if Path(path).name == arguments.image)
    batch = collate([dataset.sample(number)])
    model = whole_model(read_weights(arguments.weights))
    with torch.inference_mode():
        raw_maps = model(batch.images.float() / 255)
    panels = {
        "anchors: shape and position decide": list(of_anchors(batch, side)),
        "SimOTA: predictions decide": list(of_points(model, batch, raw_maps, one_to_one=False)),
        "one-to-one: one cell per object": list(of_points(model, batch, raw_maps, one_to_one=True)),
    }
    draw(batch, panels, arguments.output)
    for title, cells in panels.items():
        print(f"{title}: {len(cells)} cells for {len(batch.targets)} objects")


def of_anchors(batch: Batch, side: int) -> Iterator[Cell]:
    """The cells that YOLOv5's own anchors let learn each target."""
    grid = create_model("yolov5n").anchor_grid
    assert grid is not None
    sizes = [(side // int(stride), side // int(stride)) for stride in grid.strides.tolist()]
    found = find_candidates(batch.targets, grid, sizes, anchor_t=TrainSettings().anchor_t)
    learns = found.is_match.any(dim=2).nonzero().tolist()  # whichever of the anchors
    for level, shift, target in learns:
        column, row = found.cells[level, shift, 0, target].tolist()
        stride = float(grid.strides[level])
        yield target, column * stride, row * stride, stride


def of_points(model: DetectionModel, batch: Batch, raw_maps: list[torch.Tensor], *, one_to_one: bool) -> Iterator[Cell]:
    """The cells that a rule of heads without anchors lets learn the objectness of each target."""
    first, second = raw_maps[: len(model.stride_px)], raw_maps[len(model.stride_px) :]
    loss = YoloxLoss(model.stride_px, num_classes=model.num_classes, hyperparameters=TrainSettings())
    grid = point_grid(first, model.stride_px)
    found = loss.assign(flatten_maps(first), loss.prepare(first, batch.targets), grid)
    is_object = found.positives.is_real
    if one_to_one:
        is_object = loss.objects(flatten_maps(second)[..., 4].flatten(), found)
    targets = is_object.nonzero()[:, 0].tolist()
    cells, strides = grid.at(found.positives.point[is_object])
    for target, (column, row), stride in zip(targets, cells.tolist(), strides.tolist(), strict=True):
        yield target, column * stride, row * stride, stride


def draw(batch: Batch, panels: dict[str, list[Cell]], path: Path) -> None:
    """One panel a rule, side by side."""
    mpl.use("agg")
    figure = Figure(figsize=(12, 2.8), dpi=100, layout="constrained")
    image = batch.images[0].permute(1, 2, 0).numpy()
    side = image.shape[0]
    for axes, (title, cells) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        axes.imshow(image)
        axes.set_title(title, fontsize=12)
        axes.set_axis_off()
        rows = (image != image[0, 0]).any(axis=(1, 2)).nonzero()[0]  # without the bars above and below
        axes.set_ylim(rows[-1] + 0.5, rows[0] - 0.5)
        for target, left, top, stride in sorted(cells, key=lambda cell: -cell[3]):
            frame(axes, left + 0.5, top + 0.5, stride - 1, stride - 1, target, alpha=0.6)
        for target, (x, y, width, height) in enumerate((batch.targets.boxes * side).tolist()):
            frame(axes, x - width / 2, y - height / 2, width, height, target, fill=False, linewidth=2)
    figure.savefig(path, pil_kwargs={"quality": 75})


def frame(axes: Axes, left: float, top: float, width: float, height: float, target: int, **style: object) -> None:
    """A rectangle in the colour of a target."""
    colour = [value / 255 for value in class_colour(target)]
    axes.add_patch(Rectangle((left, top), width, height, color=colour, **style))


if __name__ == "__main__":
    main()
