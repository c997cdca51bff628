"""From values of the program to JSON's types, and back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import PurePath
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, TypeAdapter

Document = TypeVar("Document")


def plain(value: Any) -> Any:
    """`value` in JSON's types: dataclasses and models as objects, arrays as lists, numbers that are not finite as None.

    >>> plain({"best": PurePath("a/b"), "map50": float("nan"), "boxes": np.zeros((1, 2))})
    {'best': 'a/b', 'map50': None, 'boxes': [[0.0, 0.0]]}

    Raises:
        TypeError: it is none of these.
    """
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, BaseModel):
        return plain(value.model_dump())
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    raise TypeError(f"{type(value).__name__} has no form in JSON")


def from_document(kind: type[Document], content: Any, *, version: int) -> Document:
    """The dataclass of this kind that `{"format": version, **asdict(it)}` holds, every type in it checked.

    Raises:
        ValueError: `content` is something else.
    """
    found = content.get("format") if isinstance(content, dict) else None
    if found != version:
        raise ValueError(f"its format is {found!r}, not {version}")
    document: Document = _adapter(kind).validate_python(content)  # type: ignore[arg-type]  # hashable
    return document


@cache
def _adapter(kind: type[Any]) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
