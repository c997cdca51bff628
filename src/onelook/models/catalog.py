"""The shipped definitions and anchor sets by name. Adding a model: a YAML file in `zoo/` and a line in `MODELS`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from onelook.errors import ModelError
from onelook.files.yaml import load_yaml
from onelook.models.foreign_names import READ, known_elsewhere
from onelook.settings.nearest_name import nearest_name

ZOO = Path(__file__).parent / "zoo"

MODELS: dict[str, str] = {
    "yolov5n": "nano, strides 8 to 32",
    "yolov5s": "small, strides 8 to 32",
    "yolov5m": "medium, strides 8 to 32",
    "yolov5l": "large, strides 8 to 32",
    "yolov5x": "extra large, strides 8 to 32",
    "yolov5n6": "nano, strides 8 to 64, for 1280 px",
    "yolov5s6": "small, strides 8 to 64, for 1280 px",
    "yolov5m6": "medium, strides 8 to 64, for 1280 px",
    "yolov5l6": "large, strides 8 to 64, for 1280 px",
    "yolov5x6": "extra large, strides 8 to 64, for 1280 px",
    "yolov5n-seg": "nano with a mask head",
    "yolov5s-seg": "small with a mask head",
    "yolov5m-seg": "medium with a mask head",
    "yolov5l-seg": "large with a mask head",
    "yolov5x-seg": "extra large with a mask head",
    "yolov5s-ghost": "small, of ghost convolutions",
    "yolov5s-transformer": "small, with attention in the last backbone stage",
    "yolov5s-LeakyReLU": "small, with LeakyReLU instead of SiLU",
    "yolov5-p2": "large, strides 4 to 32, for small objects",
    "yolov5-p34": "small, strides 8 and 16 only",
    "yolov5-p6": "large, strides 8 to 64, anchors from the data",
    "yolov5-p7": "large, strides 8 to 128, anchors from the data",
    "yolov5-fpn": "large, with a top-down neck only",
    "yolov5-panet": "large, under the name of its neck",
    "yolov5-bifpn": "large, with one more cross link in the neck",
    "onelook5n": "nano without anchors, body of yolov5n, with and without NMS",
    "onelook5s": "small without anchors, body of yolov5s, with and without NMS",
    "onelook5m": "medium without anchors, body of yolov5m, with and without NMS",
    "onelook5l": "large without anchors, body of yolov5l, with and without NMS",
    "onelook5x": "extra large without anchors, body of yolov5x, with and without NMS",
    "onelookx-nano": "nano without anchors, body of yolox-nano, with and without NMS",
    "onelookx-tiny": "tiny without anchors, body of yolox-tiny, with and without NMS",
    "onelookx-s": "small without anchors, body of yolox-s, with and without NMS",
    "onelookx-m": "medium without anchors, body of yolox-m, with and without NMS",
    "yolox-nano": "nano without anchors, depth-wise convolutions, Apache-2.0 weights",
    "yolox-tiny": "tiny without anchors, Apache-2.0 weights",
    "yolox-s": "small without anchors, Apache-2.0 weights",
    "yolox-m": "medium without anchors, Apache-2.0 weights",
    "yolox-l": "large without anchors, Apache-2.0 weights",
    "yolox-x": "extra large without anchors, Apache-2.0 weights",
    "yolov3": "Darknet-53 backbone",
    "yolov3-spp": "Darknet-53 backbone with spatial pyramid pooling",
    "yolov3-tiny": "two maps, plain convolutions",
}
"""Name -> one line about it; the definition is `zoo/<name>.yaml`."""


def find_definition(name_or_path: str | Path) -> tuple[dict[str, Any], str]:
    """The content of a shipped definition or of a YAML file, and what to call it in messages.

    Args:
        name_or_path: a name in `MODELS`, with or without `.yaml`, or the path of a file. A file wins over a name.

    Raises:
        ModelError: neither a shipped name nor a readable YAML file.
    """
    path = Path(name_or_path)
    is_yaml = path.suffix in {".yaml", ".yml"}
    if is_yaml and path.is_file():
        return load_yaml(path, error=ModelError), str(path)
    name = path.stem if is_yaml else str(name_or_path)
    if name in MODELS and len(path.parts) == 1:
        return load_yaml(ZOO / f"{name}.yaml", error=ModelError), name
    foreign = known_elsewhere(name)
    if foreign is not None and foreign[0] not in READ:
        hint = f"Onelook has YOLOv3, YOLOv5 and YOLOX, such as `{foreign[1]}`; `onelook models` lists them"
        raise ModelError(f"model `{name_or_path}` is not one that Onelook has", hint=hint)
    hint = nearest_name(name, MODELS, otherwise="`onelook models` lists the shipped ones; a file ends in .yaml")
    raise ModelError(f"model `{name_or_path}` is neither a shipped name nor a YAML file", hint=hint)


def named_anchors(name: str) -> list[list[float]]:
    """The anchors, pixels, that `anchors: <name>` stands for: one flat list w, h, w, h, ... per map.

    Raises:
        ModelError: there is no set of that name.

    >>> named_anchors("P5-640")[0]
    [10, 13, 16, 30, 33, 23]
    """
    sets: dict[str, list[list[float]]] = load_yaml(ZOO / "anchors.yaml", error=ModelError)
    if name not in sets:
        raise ModelError(f"anchor set `{name}` is not known", hint=nearest_name(name, sets))
    return sets[name]
