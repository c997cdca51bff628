"""A copy of the bundled blood cells in which faults are planted, five of each kind."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

SOURCE = Path(__file__).parents[2] / "examples" / "bccd"
EACH = 5


@dataclass
class Patient:
    """A dataset and the names of its files that have each kind of fault.

    Attributes:
        folder: with `data.yaml`.
        faults: kind -> stems of the images that were spoilt.
    """

    folder: Path
    faults: dict[str, set[str]] = field(default_factory=dict)

    def image(self, stem: str) -> Path:
        return self.folder / "images" / "train" / f"{stem}.jpg"

    def label(self, stem: str) -> Path:
        return self.folder / "labels" / "train" / f"{stem}.txt"

    def append(self, stem: str, row: str) -> None:
        self.label(stem).write_text(self.label(stem).read_text().rstrip("\n") + f"\n{row}\n")


def truncate(patient: Patient, stem: str) -> str:
    image = patient.image(stem)
    image.write_bytes(image.read_bytes()[: image.stat().st_size // 2])
    return stem


def double(patient: Patient, stem: str) -> str:
    shutil.copy(patient.image(stem), patient.image(f"z{stem}"))
    shutil.copy(patient.label(stem), patient.label(f"z{stem}"))
    return f"z{stem}"


def leak(patient: Patient, stem: str) -> str:
    shutil.copy(patient.image(stem), patient.folder / "images" / "val" / f"z{stem}.jpg")
    shutil.copy(patient.label(stem), patient.folder / "labels" / "val" / f"z{stem}.txt")
    return f"z{stem}"


def leak_look(patient: Patient, stem: str) -> str:
    smaller = cv2.resize(cv2.imread(str(patient.image(stem))), (500, 375), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(patient.folder / "images" / "val" / f"y{stem}.jpg"), smaller, [cv2.IMWRITE_JPEG_QUALITY, 70])
    shutil.copy(patient.label(stem), patient.folder / "labels" / "val" / f"y{stem}.txt")
    return f"y{stem}"


def turn(patient: Patient, stem: str) -> str:
    exif = b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x03\0\0\0\0\0\0\0"
    data = patient.image(stem).read_bytes()
    patient.image(stem).write_bytes(data[:2] + b"\xff\xe1" + (len(exif) + 2).to_bytes(2, "big") + exif + data[2:])
    return stem


def bomb(patient: Patient, stem: str) -> str:
    png = bytearray(cv2.imencode(".png", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    png[16:24] = (20000).to_bytes(4, "big") * 2
    png[29:33] = zlib.crc32(png[12:29]).to_bytes(4, "big")
    patient.image(stem).write_bytes(png)
    return stem


def unlabel(patient: Patient, stem: str) -> str:
    patient.label(stem).unlink()
    return stem


def empty(patient: Patient, stem: str) -> str:
    patient.label(stem).write_text("")
    return stem


def row(text: str) -> Callable[[Patient, str], str]:
    """Adds a row to the label file."""

    def plant(patient: Patient, stem: str) -> str:
        patient.append(stem, text)
        return stem

    return plant


def repeat(patient: Patient, stem: str) -> str:
    patient.append(stem, patient.label(stem).read_text().splitlines()[0])
    return stem


def double_object(patient: Patient, stem: str) -> str:
    class_id, *box = patient.label(stem).read_text().splitlines()[0].split()
    patient.append(stem, " ".join([class_id, *(f"{float(number) * 1.004:.6f}" for number in box)]))
    return stem


def dispute_object(patient: Patient, stem: str) -> str:
    class_id, *box = patient.label(stem).read_text().splitlines()[0].split()
    patient.append(stem, " ".join([str((int(class_id) + 1) % 3), *box]))
    return stem


PLANTERS: dict[str, Callable[[Patient, str], str]] = {
    "unusable-image": truncate,
    "doubled-image": double,
    "leaked-image": leak,
    "leaked-look": leak_look,
    "turned-image": turn,
    "bomb": bomb,
    "no-label-file": unlabel,
    "empty-label-file": empty,
    "outside": row("1 1.4 0.5 0.1 0.1"),
    "no-area": row("1 0.5 0.5 0.1 0"),
    "clipped-box": row("1 0.97 0.5 0.2 0.2"),
    "refused-row": row("1 0.5 0.5 nan 0.1"),
    "unknown-class": row("7 0.5 0.5 0.1 0.1"),
    "tiny-object": row("2 0.5 0.5 0.002 0.01"),
    "repeated-row": repeat,
    "doubled-object": double_object,
    "disputed-object": dispute_object,
}


def plant(folder: Path) -> Patient:
    """A copy of the bundled dataset in `folder`, with five faults of each kind, no two in one image."""
    shutil.copytree(SOURCE, folder)
    patient = Patient(folder)
    stems = iter(sorted(path.stem for path in (folder / "images" / "train").iterdir()))
    for kind, planter in PLANTERS.items():
        patient.faults[kind] = {planter(patient, next(stems)) for _ in range(EACH)}
    return patient
