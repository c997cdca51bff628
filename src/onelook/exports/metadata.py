"""What an exported file says about itself: everything that is needed to run it, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, get_args

from onelook.errors import CheckpointError
from onelook.files.bounded import has_controls
from onelook.inference.backend import Thresholds
from onelook.models.decoding import Decoding, Rule
from onelook.settings.train import MAX_IMGSZ
from onelook.training.weights import MAX_NAMES

FORMAT_VERSION = 1
MAX_CHARACTERS = 4_000_000
PRECISIONS = ("fp32", "fp16", "int8")
LAYOUTS = ("rows", "channels-first", "end-to-end", "yolox")


@dataclass(frozen=True)
class Metadata:
    """What is needed to run an exported detector.

    Attributes:
        names: K class names.
        stride: height and width of images are multiples of this, pixels.
        frame_hw: the only height and width of images, pixels; None if any multiple of the stride will do.
        batch: the only number of images of a call; None if any will do.
        precision: "fp32", "fp16" or "int8" for the network; images and predictions are 32-bit floats in any case.
        thresholds: the NMS inside; None if all boxes come out.
        decoding: how raw maps are decoded; None if the outputs are decoded predictions.
        layout: layout of predictions: "rows", "channels-first", "end-to-end", or "yolox", which has a decoding.
        map_strides: pixels per cell of each output map, in the order of the boxes; None if the file does not say.
        weights: name of the file that was exported.
        imgsz: side of the images that it was trained on, pixels; None if the file does not say.
        needs_nms: whether several boxes may come out for one object.
    """

    names: tuple[str, ...]
    stride: int
    frame_hw: tuple[int, int] | None = None
    batch: int | None = None
    precision: str = "fp32"
    thresholds: Thresholds | None = None
    decoding: Decoding | None = None
    map_strides: tuple[int, ...] | None = None
    weights: str = ""
    imgsz: int | None = None
    needs_nms: bool = True
    layout: str = "rows"

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with the versions of the format and of Onelook."""
        content = asdict(self)
        if self.thresholds is not None:  # files have called it so from the beginning
            content["thresholds"]["agnostic"] = content["thresholds"].pop("agnostic_nms")
        return {"format_version": FORMAT_VERSION, "onelook": version("onelook"), **content}

    def as_json(self) -> str:
        """The same as text."""
        return json.dumps(self.as_dict(), ensure_ascii=False)


def read_metadata(text: str | None, where: str) -> Metadata:
    """The metadata in `text`, the JSON of `Metadata.as_json`, every value checked.

    Raises:
        CheckpointError: there is none, or it is not what `onelook export` writes.
    """
    if text is None:
        raise CheckpointError(
            f"exported model `{where}` says nothing about its classes and sizes",
            hint="only files that `onelook export` wrote can be run: export the checkpoint again",
        )
    if len(text) > MAX_CHARACTERS:
        raise CheckpointError(f"exported model `{where}`: its metadata has {len(text)} characters")
    try:
        content = json.loads(text)
        if content["format_version"] != FORMAT_VERSION:
            raise CheckpointError(
                f"exported model `{where}` has format version {content['format_version']}, known is {FORMAT_VERSION}",
                hint="export the checkpoint again with this version of Onelook",
            )
        return _checked(content)
    except (ValueError, LookupError, TypeError, RecursionError) as problem:
        raise CheckpointError(
            f"exported model `{where}`: its metadata cannot be read: {type(problem).__name__} {problem}",
            hint="export the checkpoint again",
        ) from problem


def _checked(content: Mapping[str, Any]) -> Metadata:
    names, frame, batch = content["names"], content["frame_hw"], content["batch"]
    if not (isinstance(names, list) and 1 <= len(names) <= MAX_NAMES and all(isinstance(n, str) for n in names)):
        raise ValueError("`names` is not a list of texts")
    if any(map(has_controls, names)):
        raise ValueError("`names` hold control characters")
    if content["precision"] not in PRECISIONS:
        raise ValueError(f"`precision` is {content['precision']!r}")
    stride = _whole("stride", content["stride"], 1024)
    frame_hw = None if frame is None else (_whole("frame_hw", frame[0], 2**16), _whole("frame_hw", frame[1], 2**16))
    if frame_hw is not None and any(side % stride for side in frame_hw):
        raise ValueError(f"`frame_hw` {frame_hw} is not a multiple of the stride {stride}")
    thresholds, decoding, map_strides = content["thresholds"], content["decoding"], content.get("map_strides")
    imgsz = content.get("imgsz")
    layout = content.get("layout", "rows")
    if layout not in LAYOUTS or (layout != "rows" and (decoding is not None) != (layout == "yolox")):
        raise ValueError(f"`layout` is {layout!r}, {'with' if decoding is not None else 'without'} a decoding")
    return Metadata(
        names=tuple(names),
        stride=stride,
        frame_hw=frame_hw,
        batch=None if batch is None else _whole("batch", batch, 2**16),
        precision=content["precision"],
        thresholds=None if thresholds is None else _thresholds(thresholds),
        decoding=None if decoding is None else _decoding(decoding),
        map_strides=None if map_strides is None else tuple(_whole("map_strides", one, 1024) for one in map_strides),
        weights=str(content["weights"]),
        imgsz=None if imgsz is None else _whole("imgsz", imgsz, MAX_IMGSZ),
        needs_nms=content.get("needs_nms", True) is not False,
        layout=layout,
    )


def _thresholds(content: Mapping[str, Any]) -> Thresholds:
    return Thresholds(
        conf_thres=_number("conf_thres", content["conf_thres"], 1),
        iou_thres=_number("iou_thres", content["iou_thres"], 1),
        max_det=_whole("max_det", content["max_det"], 10**6),
        agnostic_nms=content["agnostic"] is True,
    )


def _decoding(content: Mapping[str, Any]) -> Decoding:
    anchors = tuple(
        tuple((_number("anchors", w, 1e6), _number("anchors", h, 1e6)) for w, h in one_map)
        for one_map in content["anchors"]
    )
    strides = tuple(_number("strides", stride, 1024, lowest=1) for stride in content["strides"])
    rule = content.get("rule", "anchors")
    if rule not in get_args(Rule):
        raise ValueError(f"`rule` is {rule!r}, expected one of {', '.join(get_args(Rule))}")
    if not 1 <= len(strides) <= 16 or len(anchors) != (len(strides) if rule == "anchors" else 0):
        raise ValueError(f"{len(anchors)} maps with anchors, {len(strides)} with strides")
    decoding = Decoding(rule=rule, strides=strides, anchors=anchors)
    if decoding.is_shared and list(strides) != sorted(strides):
        raise ValueError(f"`strides` are {strides}, not ascending")
    if content.get("peaks", False) is True:
        raise ValueError("`peaks` is of an earlier version of Onelook")
    return decoding


def _whole(name: str, value: Any, highest: int) -> int:
    if type(value) is not int or not 1 <= value <= highest:
        raise ValueError(f"`{name}` is {value!r}, expected a whole number from 1 to {highest}")
    return value


def _number(name: str, value: Any, highest: float, *, lowest: int = 0) -> float:
    if type(value) not in (int, float) or not lowest <= value <= highest:  # false for nan, too
        raise ValueError(f"`{name}` is {value!r}, expected a number from {lowest} to {highest:g}")
    return float(value)
