"""The setting `transforms`: which transforms of Albumentations a user may name, and how a list of them is written.

Only the form is checked here, so that settings can be read without the package; the arguments are checked where the
transforms are made.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator

from onelook.errors import SettingsError
from onelook.files.yaml import load_yaml, parse_yaml
from onelook.settings.nearest_name import nearest_name

MAX_DEPTH = 4
# Those that need nothing but the image and its boxes, give a uint8 image, and read no file.
PIXEL_TRANSFORMS = frozenset(
    {
        "AdditiveNoise", "AdvancedBlur", "AutoContrast", "Blur", "CLAHE", "ChannelDropout", "ChannelShuffle",
        "ChromaticAberration", "ColorJitter", "Defocus", "Downscale", "Emboss", "Equalize", "FancyPCA", "GaussNoise",
        "GaussianBlur", "GlassBlur", "HEStain", "HueSaturationValue", "ISONoise", "Illumination", "ImageCompression",
        "InvertImg", "MedianBlur", "MotionBlur", "MultiplicativeNoise", "PlanckianJitter", "PlasmaBrightnessContrast",
        "PlasmaShadow", "Posterize", "RGBShift", "RandomBrightnessContrast", "RandomFog", "RandomGamma",
        "RandomGravel", "RandomRain", "RandomShadow", "RandomSnow", "RandomSunFlare", "RandomToneCurve",
        "RingingOvershoot", "SaltAndPepper", "Sharpen", "ShotNoise", "Solarize", "Spatter", "Superpixels", "ToGray",
        "ToSepia", "UnsharpMask", "ZoomBlur",
    }
)  # fmt: skip
SHAPE_TRANSFORMS = frozenset(
    {
        "Affine", "CoarseDropout", "CropAndPad", "D4", "ElasticTransform", "Erasing", "GridDistortion", "GridDropout",
        "GridElasticDeform", "HorizontalFlip", "Morphological", "NoOp", "OpticalDistortion", "Perspective",
        "PixelDropout", "RandomResizedCrop", "RandomRotate90",
        "RandomSizedBBoxSafeCrop", "RandomSizedCrop", "Rotate", "SafeRotate", "SquareSymmetry",
        "ThinPlateSpline", "Transpose", "VerticalFlip", "XYMasking",
    }
)  # fmt: skip
COMPOSITIONS = frozenset({"OneOf", "RandomOrder", "Sequential", "SomeOf"})
_KNOWN = sorted(PIXEL_TRANSFORMS | SHAPE_TRANSFORMS | COMPOSITIONS)


def read_transforms(value: Any) -> list[dict[str, Any]]:
    """The transforms of a list, a file, or YAML text, as plain data.

    Args:
        value: a transform is a mapping with `name`, and its arguments beside it; a text is the path of a YAML file
            that holds a list under `transforms`, or YAML in brackets. One of these, or a list of them.

    Raises:
        SettingsError: a file cannot be read, a name is not known, or a value is no plain data.
    """
    entries = value if isinstance(value, list | tuple) else [value]
    found: list[Any] = []
    for entry in entries:
        found += _from_text(os.fspath(entry)) if isinstance(entry, str | os.PathLike) else [entry]
    return [_checked(entry, f"transform {number} of `transforms`") for number, entry in enumerate(found, start=1)]


Transforms = Annotated[list[dict[str, Any]], BeforeValidator(read_transforms)]


def _from_text(text: str) -> list[Any]:
    if text.lstrip().startswith(("[", "{")):
        content = parse_yaml(text, "setting `transforms`")
    else:
        mapping = load_yaml(Path(text))
        if list(mapping) != ["transforms"]:
            raise SettingsError(
                f"file `{text}` has to hold a list under `transforms` and nothing else, but it has "
                f"{', '.join(f'`{key}`' for key in mapping)}",
                hint="other settings go into the file of `--settings` or `--hyp`, which may hold `transforms` too",
            )
        content = mapping["transforms"]
    return content if isinstance(content, list) else [content]


def _checked(entry: Any, place: str, *, depth: int = 1) -> dict[str, Any]:
    """One transform as plain data of its own."""
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise SettingsError(f"{place} is `{entry}`, which has no `name`", hint="write `{name: Blur, p: 0.01}`")
    name = entry["name"]
    if name not in _KNOWN:
        raise SettingsError(f"{place} is `{name}`, which is not offered", hint=nearest_name(name, _KNOWN))
    if (name in COMPOSITIONS) != ("transforms" in entry):
        raise SettingsError(f"{place}: {', '.join(sorted(COMPOSITIONS))} take a list `transforms`, no others do")
    _refuse_no_probability(entry.get("p", 1), f"{place}, `{name}`")
    arguments = {key: value for key, value in entry.items() if key != "transforms"}
    if not _is_plain(arguments):
        raise SettingsError(f"{place}, `{name}`, has arguments that are not numbers, words, lists or mappings of them")
    if name not in COMPOSITIONS:
        return arguments
    inner = entry["transforms"]
    if not isinstance(inner, list) or not inner or depth >= MAX_DEPTH:
        raise SettingsError(
            f"{place}, `{name}`: `transforms` has to be a list that is not empty, nested up to {MAX_DEPTH} deep"
        )
    parts = [
        _checked(part, f"{place}, number {number} of its `{name}`", depth=depth + 1)
        for number, part in enumerate(inner, start=1)
    ]
    return {**arguments, "transforms": parts}


def _refuse_no_probability(value: Any, place: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise SettingsError(f"{place}: `p` is `{value}`, which is not a probability", hint="use a number from 0 to 1")


def _is_plain(value: Any) -> bool:
    """Whether a value is what YAML and JSON can hold."""
    if isinstance(value, list | tuple):
        return all(_is_plain(part) for part in value)
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in value.items())
    return value is None or isinstance(value, bool | int | str) or (isinstance(value, float) and math.isfinite(value))
