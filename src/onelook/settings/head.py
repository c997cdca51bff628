"""The choice of a branch of the head, which several commands share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from onelook.errors import SettingsError

if TYPE_CHECKING:
    from onelook.settings.detect import LoadSettings
    from onelook.settings.validate import ValidateSettings

HeadChoice = Literal["auto", "many", "one"]
"""Of a head with two branches: the better in validation, the one that needs NMS, or the one that does not."""


def head_for_merging(settings: LoadSettings | ValidateSettings) -> HeadChoice:
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
