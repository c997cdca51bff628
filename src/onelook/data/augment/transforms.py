"""Transforms of Albumentations (A. Buslaev et al., 2020) that the user has named, with random numbers of ours."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata
from types import ModuleType
from typing import Any

import cv2
import numpy as np
from pydantic import ValidationError

from onelook.data.augment.draft import Draft, Stream
from onelook.data.augment.keys import Purpose, SampleKey, generator
from onelook.data.augment.labels import MIN_AREA_KEPT, MIN_SIDE_PX
from onelook.data.augment.plan import Boxes, ClassIds, Image, Sample
from onelook.errors import SettingsError
from onelook.settings.transforms import COMPOSITIONS, PIXEL_TRANSFORMS

Specification = Mapping[str, Any]
PACKAGE = "albumentations"
VERSION = "2.0.8"  # the last one under the MIT licence; another one would also give other images
NO_UPDATE_CHECK = "NO_ALBUMENTATIONS_UPDATE"
FAILURES = (ValueError, TypeError, ArithmeticError, LookupError, RuntimeError, cv2.error)


def draw(draft: Draft, _stream: Stream) -> None:
    """The transforms that the user has named; the library draws what they do when it is done, with the same key."""
    if draft.transform is not None:
        draft.steps.append(draft.transform(draft.key))


class UserTransforms:
    """Applies the transforms of the setting `transforms` in their order; what they draw depends on the key alone.

    Raises:
        SettingsError: the package is missing, or an argument is wrong.
    """

    def __init__(self, specifications: Sequence[Specification]) -> None:
        self._specifications = list(specifications)
        library = _library()
        parts = [_made(library, one, f"transform {number}") for number, one in enumerate(specifications, start=1)]
        self._moves_boxes = not all(_only_changes_pixels(one) for one in specifications)
        parameters = library.BboxParams(
            format="albumentations",
            label_fields=["numbers"],
            min_width=MIN_SIDE_PX,
            min_height=MIN_SIDE_PX,
            min_visibility=MIN_AREA_KEPT,
            clip=True,
        )
        self._composition = library.Compose(parts, bbox_params=parameters if self._moves_boxes else None)

    def __reduce__(self) -> tuple[object, ...]:
        """Loader processes make their own."""
        return (UserTransforms, (self._specifications,))

    def apply(self, image: Image, boxes: Boxes, class_ids: ClassIds, *, key: SampleKey) -> Sample:
        """The image, changed.

        Args:
            image: (H, W, 3) uint8 RGB; may be written to.
            boxes: (N, 4) xyxy, pixels, inside the image.
            class_ids: (N,).

        Raises:
            SettingsError: a transform fails, or gives an image of another size.
        """
        rng = generator(key, Purpose.TRANSFORMS)
        py_random = self._composition.py_random
        py_random.seed(int(rng.integers(2**63)))
        self._composition.set_random_state(rng, py_random)
        height, width = image.shape[:2]
        gain = np.array([width, height, width, height], np.float64)
        data: dict[str, Any] = {"image": image}
        if self._moves_boxes:
            data |= {"bboxes": (boxes / gain).clip(0, 1), "numbers": np.arange(len(boxes))}
        try:
            found = self._composition(**data)
        except FAILURES as problem:
            raise SettingsError(f"`transforms` failed on an image: {_first_line(problem)}") from problem
        changed = _same_size(found["image"], image.shape)
        if not self._moves_boxes:
            return Sample(changed, boxes, class_ids, 0)
        numbers = np.asarray(found["numbers"], np.int64)
        left = (np.asarray(found["bboxes"], np.float64).reshape(-1, 4) * gain).clip(0, gain)
        keep = (left[:, 2:] - left[:, :2]).min(axis=1, initial=np.inf) > MIN_SIDE_PX
        num_kept = len(np.unique(numbers[keep]))  # reflecting borders give some boxes twice
        return Sample(changed, left[keep], class_ids[numbers[keep]], len(boxes) - num_kept)


@dataclass(frozen=True)
class KeyedTransforms:
    """The transforms as they are for one image."""

    transforms: UserTransforms
    key: SampleKey

    def apply(self, sample: Sample) -> Sample:
        """See `Step`; SettingsError: see `UserTransforms.apply`."""
        return self.transforms.apply(sample.image, sample.boxes, sample.class_ids, key=self.key)


def check_transforms(specifications: Sequence[Specification]) -> None:
    """Build the transforms once, so that errors show before a run begins; SettingsError: as of `UserTransforms`."""
    if specifications:
        UserTransforms(specifications)


def _library() -> ModuleType:
    """Albumentations, without its request for a newer version."""
    try:
        version = metadata.version(PACKAGE)
    except metadata.PackageNotFoundError:
        version = "missing"
    if version != VERSION:
        found = "is not installed" if version == "missing" else f"is there in version {version}"
        raise SettingsError(
            f"setting `transforms` needs the package {PACKAGE} {VERSION}, which {found}",
            hint='`pip install "onelook[augment]"`',
        )
    with _environment(NO_UPDATE_CHECK, "1"):
        import albumentations

    module: ModuleType = albumentations
    return module


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


def _made(library: ModuleType, specification: Specification, where: str) -> Any:
    """A transform of the library, or several in one of its compositions; the settings have checked the names."""
    name = specification["name"]
    arguments = {key: value for key, value in specification.items() if key not in ("name", "transforms")}
    kind = getattr(library, name)
    if name in COMPOSITIONS:
        parts = [
            _made(library, one, f"{where}, number {number} of its `{name}`")
            for number, one in enumerate(specification["transforms"], start=1)
        ]
        arguments = {"transforms": parts, **arguments}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the library would use other arguments than those given
            return kind(**arguments)
    except (*FAILURES, UserWarning) as problem:
        message = f"{where} of `transforms`, `{name}`: {_first_line(problem)}"
        taken = ", ".join(f"`{name}`" for name in inspect.signature(kind).parameters)
        raise SettingsError(message, hint=f"it takes {taken}") from problem


def _only_changes_pixels(specification: Specification) -> bool:
    if specification["name"] in COMPOSITIONS:
        return all(_only_changes_pixels(one) for one in specification["transforms"])
    return specification["name"] in PIXEL_TRANSFORMS


def _same_size(image: Any, shape: tuple[int, ...]) -> Image:
    if image.shape != shape or image.dtype != np.uint8:
        height, width = shape[:2]
        raise SettingsError(
            f"`transforms` made an image of {image.shape[1]} x {image.shape[0]} pixels of one of {width} x {height}",
            hint=f"let what crops give back the size, as in `size: [{height}, {width}]`",
        )
    return np.ascontiguousarray(image)


def _first_line(problem: Exception | Warning) -> str:
    """What is wrong, without the stack of the library."""
    cause = problem.__cause__
    if isinstance(cause, ValidationError):
        first = cause.errors()[0]
        return f"`{'.'.join(map(str, first['loc'])) or 'arguments'}` is `{first['input']}`: {first['msg']}"
    return next(iter(str(problem).splitlines()), type(problem).__name__)
