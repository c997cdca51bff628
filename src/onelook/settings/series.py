"""What happens to a setting when a run, trainings on folds or a search are resumed: each field says so in its metadata.

`Field(100, json_schema_extra=resumed(EXTENDS))` makes a setting that a resumed run may raise; without a word, a
setting is kept.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic.config import JsonDict
from pydantic.fields import FieldInfo

from onelook.errors import SettingsError, combined

logger = logging.getLogger(__name__)

SettingsT = TypeVar("SettingsT", bound=BaseModel)

INPUTS = ("data", "folds", "teacher")
"""Settings that name what a series reads again when it is resumed."""

KEPT = "kept"  # decides what is learned: a resumed series has it as it was
EXTENDS = "extends"  # how long a run is: a single run may be given more
FREE = "free"  # how the work is done, not what is learned: as it was, unless it is given again
PLACE = "place"  # where the series is: its folder answers that
OUTSIDE = "outside"  # reaches beyond the run folder, to code or other hosts: only what is given with this very call
_POLICIES = (KEPT, EXTENDS, FREE, PLACE, OUTSIDE)


def resumed(policy: str, *, of_trial: bool = False, **more: Any) -> JsonDict:
    """Metadata of a field: what happens to it on resume.

    Args:
        policy: one of those above. What is `OUTSIDE` no file can set, only whoever types the command.
        of_trial: each trial of a search decides it for itself.
    """
    assert policy in _POLICIES
    return {"resumed": policy, "of_trial": of_trial, **more}


def extra(field: FieldInfo) -> dict[str, Any]:
    """The metadata of a field."""
    return dict(field.json_schema_extra) if isinstance(field.json_schema_extra, dict) else {}


@cache
def names_of(kind: type[BaseModel], *policies: str) -> frozenset[str]:
    """The fields of `kind` with one of these policies."""
    return frozenset(name for name, field in kind.model_fields.items() if extra(field).get("resumed", KEPT) in policies)


@cache
def trial_names(kind: type[BaseModel]) -> frozenset[str]:
    """The fields of `kind` that each trial of a search decides for itself."""
    return frozenset(name for name, field in kind.model_fields.items() if extra(field).get("of_trial"))


def storable(kind: type[BaseModel], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Those of `settings` that belong to a series: without its place, and without what reaches outside."""
    left_out = names_of(kind, PLACE, OUTSIDE)
    return {name: value for name, value in settings.items() if name not in left_out}


def named_after_model(settings: SettingsT) -> SettingsT:
    """The settings of a series with the name of its model instead of `cfg`."""
    values = settings.model_dump(include={"name", "cfg", "weights"})
    if values["name"] != "cfg":
        return settings
    return settings.model_copy(update={"name": Path(values["cfg"] or values["weights"]).stem or "exp"})


def resume_settings(
    before: SettingsT, given: SettingsT, *, series: str, folder: Path, extends: bool = False
) -> SettingsT:
    """The settings of a series that is resumed.

    Args:
        before: stored settings; those that reach outside are not taken from here.
        given: settings of this call; only fields that are set count.
        folder: folder of the series, normally below the one in which it was started.

    Raises:
        SettingsError: a setting that must be kept was given another value; all of them are listed.
    """
    kind = type(before)
    changeable = names_of(kind, FREE, *([EXTENDS] if extends else []))
    outside = names_of(kind, OUTSIDE)
    old, new = before.model_dump(mode="json"), given.model_dump(mode="json")
    fixed = given.model_fields_set - changeable - outside - names_of(kind, PLACE) - {"hyp"}  # its numbers are compared
    problems = [
        f"`{name}` was {old[name]!r} and would become {new[name]!r}" for name in sorted(fixed) if old[name] != new[name]
    ]
    if problems:
        hint = f"start a new {series}; a resumed one may change {', '.join(sorted(changeable))}"
        raise combined(SettingsError, f"a resumed {series} cannot change what it learns:", problems, hint=hint)
    changes = {name: getattr(given, name) for name in given.model_fields_set & changeable}
    changes |= {name: getattr(given, name) for name in outside}
    before = _found_around(folder, before, except_for=changes)
    result = before.model_copy(update=changes)
    try:
        kind.model_validate(result.model_dump())  # the changes may contradict what is kept
    except ValidationError as problem:
        raise SettingsError(f"these settings cannot be used together: {problem.errors()[0]['msg']}") from problem
    return result


def _found_around(folder: Path, settings: SettingsT, *, except_for: Mapping[str, Any]) -> SettingsT:
    """The settings with the places of relative paths that lead nowhere from here, but from a folder around `folder`."""
    moved = {}
    for name in settings.model_fields_set.intersection(INPUTS).difference(except_for):
        path = getattr(settings, name)
        if not path or os.path.exists(os.path.expanduser(path)):  # noqa: PTH110, PTH111 - no HOME is fine
            continue
        place = next((parent / path for parent in folder.resolve().parents if (parent / path).exists()), None)
        if place is not None and place != Path(path):
            logger.warning("`%s` is not there; `%s` is read", path, place)
            moved[name] = str(place) if isinstance(path, str) else place
    return settings.model_copy(update=moved)
