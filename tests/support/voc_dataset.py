"""Pascal VOC datasets of a few tiny images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from small_dataset import pixels

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec

SIZE = "<size><width>20</width><height>16</height><depth>3</depth></size>"
BOX = (2, 3, 12, 11)


def thing(name: str = "cat", corners: tuple[object, ...] = BOX, more: str = "") -> str:
    """An object of an image of 20 x 16 pixels."""
    tags = zip(("xmin", "ymin", "xmax", "ymax"), corners, strict=False)
    bndbox = "".join(f"<{tag}>{value}</{tag}>" for tag, value in tags)
    return f"<object><name>{name}</name>{more}<bndbox>{bndbox}</bndbox></object>"


def document(*things: str, size: str = SIZE) -> str:
    return f"<annotation><filename>a.png</filename>{size}{''.join(things)}</annotation>"


def make_voc(
    folder: Path, files: Mapping[str, str | bytes | None], *, yaml: str = "names: [cat, dog]\n"
) -> DatasetSpec:
    """A dataset of the format voc: one 20 x 16 image per item, with that XML (None: no file); val is like train."""
    for part in ("images", "xml"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for number, (name, text) in enumerate(files.items()):
        (folder / f"images/{name}.png").write_bytes(pixels(number))
        if text is not None:
            (folder / f"xml/{name}.xml").write_bytes(text if isinstance(text, bytes) else text.encode())
    entry = "{images: images, annotations: xml}"
    (folder / "data.yaml").write_text(f"format: voc\ntrain: {entry}\nval: {entry}\n{yaml}")
    return load_dataset_spec(folder / "data.yaml")
