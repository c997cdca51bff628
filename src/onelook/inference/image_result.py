"""What was found in one image: drawn, cut out, written, and in the forms of other libraries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onelook.drawing.boxes import draw_detections
from onelook.drawing.crops import crop, folder_name
from onelook.errors import SettingsError
from onelook.files.atomic import write_bytes_atomic
from onelook.files.bounded import printable
from onelook.files.images import Image, drawn_name, encode_image, write_image
from onelook.geometry.boxes import xyxy_to_xywh
from onelook.inference.detection_results import described
from onelook.inference.image_inputs import ImageInput
from onelook.structures.coco_classes import category_ids
from onelook.structures.detections import Detections, rows_of

if TYPE_CHECKING:
    from pandas import DataFrame
    from supervision import Detections as SupervisionDetections


@dataclass(frozen=True, eq=False, repr=False)
class ImageResult(Detections):
    """What was found in one image, highest score first; `Detections` that know their image.

    An image from a file is read again when its pixels are needed.

    Attributes:
        image_id: what the image is called in COCO's files.
        size_hw: height and width of the image, pixels.
    """

    image_input: ImageInput
    image_id: int | str
    size_hw: tuple[int, int]
    names: tuple[str, ...]

    @property
    def path(self) -> Path | None:
        """The file of the image; None if its pixels were given."""
        return self.image_input.path

    @property
    def image(self) -> Image:
        """(H, W, 3) uint8 RGB, the image as it is."""
        return self.image_input.pixels()

    def __repr__(self) -> str:
        counts = Counter(self.names[class_id] for class_id in self.class_ids.tolist())
        found = ", ".join(f"{count} {name}" for name, count in counts.items()) or "nothing"
        source = f"{self.size_hw[1]} x {self.size_hw[0]} pixels" if self.path is None else printable(self.path)
        return f"<ImageResult of {source}: {found}>"

    def _repr_png_(self) -> bytes:
        """For notebooks: the drawn image."""
        return encode_image(self.plot(), ".png")

    def plot(self, *, line_thickness: int = 0, hide_labels: bool = False, hide_conf: bool = False) -> Image:
        """The image with boxes, names and scores drawn in, (H, W, 3) uint8 RGB.

        Args:
            line_thickness: pixels; 0 takes one that suits the image.
            hide_labels: boxes only.
            hide_conf: names without scores.
        """
        return draw_detections(
            self.image,
            self.boxes,
            self.class_ids,
            self.scores,
            self.names,
            object_ids=self.object_ids,
            line_thickness=line_thickness or None,
            hide_labels=hide_labels,
            hide_conf=hide_conf,
        )

    def crop(self) -> list[Image]:
        """An image of each detection, in their order, (h, w, 3) uint8 RGB: its box, slightly enlarged."""
        image = self.image
        return [crop(image, box).copy() for box in self.boxes]

    def save(self, path: str | Path) -> Path:
        """Write the drawn image.

        Args:
            path: an image file, or a folder (made if need be), in which the image gets the name that it has.

        Returns:
            The file.

        Raises:
            SettingsError: `path` is a folder and the image has no name, or it is the image itself.
            DataError: we write no files of this kind.
        """
        target = Path(path)
        if target.is_dir() or not target.suffix:
            if self.path is None:
                raise SettingsError(
                    "the pixels were given, so the image has no name", hint="name a file: `save('drawn.jpg')`"
                )
            target /= drawn_name(self.path, self.path.stem)
        if self.path is not None and target.resolve() == self.path.resolve():
            raise SettingsError(f"`{printable(target)}` is the image itself", hint="name another file or folder")
        drawn = encode_image(self.plot(), target.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(target, drawn)
        return target

    def save_crops(self, folder: str | Path) -> list[Path]:
        """Write an image of each detection to `folder`/class/stem_number.jpg.

        Returns:
            The files, in the order of the detections; a box outside of the image has none.
        """
        stem = "image" if self.path is None else self.path.stem
        written = []
        for number, (piece, class_id) in enumerate(zip(self.crop(), self.class_ids.tolist(), strict=True), start=1):
            if piece.size:
                class_folder = Path(folder) / folder_name(self.names[class_id], class_id)
                class_folder.mkdir(parents=True, exist_ok=True)
                written.append(class_folder / f"{stem}_{number}.jpg")
                write_image(written[-1], piece)
        return written

    def to_json(self) -> str:
        """The image's file and size, and each detection: class, score, corners in pixels, id of a followed object."""
        content = {
            "file": None if self.path is None else str(self.path),
            "height": self.size_hw[0],
            "width": self.size_hw[1],
            "detections": described(self, self.names),
        }
        return json.dumps(content)

    def to_coco(self, image_id: int | str | None = None) -> list[dict[str, Any]]:
        """The detections as entries of COCO's result files; boxes are left, top, width, height in pixels.

        Categories are the class ids, or COCO's own ids if the detector has the 80 classes of COCO.

        Args:
            image_id: of the image; left out, its file name without suffix, as a number if all images that were given
                with it have numbers; its position where names repeat, and where pixels or frames were given.
        """
        ids = category_ids(self.names)
        return [
            {
                "image_id": self.image_id if image_id is None else image_id,
                "category_id": ids[class_id],
                "bbox": xyxy_to_xywh(np.array(box)).tolist(),
                "score": score,
            }
            for box, score, class_id, _ in rows_of(self)
        ]

    def to_pandas(self) -> DataFrame:
        """A table with a row for each detection: file, class_id, class, score, x1, y1, x2, y2 in pixels.

        Raises:
            SettingsError: pandas is not installed.
        """
        with _needed("pandas"):
            import pandas
        columns = {
            "file": [None if self.path is None else str(self.path)] * len(self),
            "class_id": self.class_ids,
            "class": [self.names[class_id] for class_id in self.class_ids.tolist()],
            "score": self.scores,
            **{name: self.boxes[:, column] for column, name in enumerate(("x1", "y1", "x2", "y2"))},
        }
        if self.object_ids is not None:
            columns["object"] = self.object_ids
        return pandas.DataFrame(columns)

    def to_supervision(self) -> SupervisionDetections:
        """The detections of the package supervision, with the names of the classes as `data["class_name"]`.

        Raises:
            SettingsError: supervision is not installed.
        """
        with _needed("supervision"):
            import supervision
        return supervision.Detections(
            xyxy=self.boxes.copy(),
            confidence=self.scores.copy(),
            class_id=self.class_ids.astype(int),
            tracker_id=None if self.object_ids is None else self.object_ids.astype(int),
            data={"class_name": np.array([self.names[class_id] for class_id in self.class_ids.tolist()], dtype=str)},
        )


@contextmanager
def _needed(package: str) -> Iterator[None]:
    try:
        yield
    except ImportError as problem:
        hint = 'pip install "supervision>=0.31"' if package == "supervision" else 'pip install "onelook[results]"'
        raise SettingsError(f"the package `{package}` is not installed", hint=hint) from problem
