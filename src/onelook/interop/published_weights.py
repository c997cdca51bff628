"""Published weights that have a name here: where each file is, and what it must be. Nothing is fetched by this file."""

from __future__ import annotations

from dataclasses import dataclass, field

from onelook.files.web import WebFile
from onelook.structures.origin import YOLOX, Origin

YOLOX_RELEASE = "https://github.com/Megvii-BaseDetection/YOLOX/releases/download/0.1.1rc0"


@dataclass(frozen=True)
class PublishedWeights(WebFile):
    """A file of weights at its official address, and where the weights come from."""

    origin: Origin = field(kw_only=True)


def _yolox(size: str, sha256: str, num_bytes: int | None) -> PublishedWeights:
    return PublishedWeights(f"{YOLOX_RELEASE}/yolox_{size}.pth", num_bytes, sha256, origin=YOLOX)


PUBLISHED_WEIGHTS: dict[str, PublishedWeights] = {
    "yolox-nano": _yolox("nano", "cd28f55fbbc1829f99d9ac9b38a16d259a22889739c8728ea877610201feff7b", None),
    "yolox-tiny": _yolox("tiny", "9de513de589ac98bb92d3bca53b5af7b9acfa9b0bacb831f7999d0f7afaee8f0", 40_755_013),
    "yolox-s": _yolox("s", "f55ded7181e1b0c13285c56e7790b8f0e8f8db590fe4edb37f0b7f345c913a30", 72_089_125),
    "yolox-m": _yolox("m", "60076992b32da82951c90cfa7bd6ab70eba9eda243e08b940a396f60ac2d19b6", 203_114_461),
    "yolox-l": _yolox("l", "1e6b7fa6240375370b2a8a8eab9066b3cdd43fd1d0bfa8d2027fd3a51def2917", None),
    "yolox-x": _yolox("x", "5652330b6ae860043f091b8f550a60c10e1129f416edfdb65c259be6caf355cf", 793_463_373),
}
"""Name, as in `--weights yolox-nano`, -> file."""
