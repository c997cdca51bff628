"""The choice of a branch of the head, which several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Protocol

from onelook.errors import SettingsError

HeadChoice = Literal["auto", "many", "one"]
"""Of a head with two branches: the better in validation, the one that needs NMS, or the one that does not."""


class _Merging(Protocol):
    @property
    def head(self) -> HeadChoice: ...

    @property
    def weights(self) -> list[Path]: ...

    @property
    def augment(self) -> bool: ...


def head_for_merging(settings: _Merging) -> HeadChoice:
    """The branch that is looked for: of several models or views only NMS makes one answer.

    Raises:
        SettingsError: the branch without NMS is asked for, and boxes are to be merged.
    """
    if not settings.augment and len(settings.weights) < 2:
        return settings.head
    if settings.head == "one":
        merged = "`augment`" if settings.augment else "several `weights`"
        raise SettingsError(f"setting `head` is one, but {merged} need NMS", hint="use `--head many`")
    return "many"
