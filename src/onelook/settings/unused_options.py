"""Refuses settings that another one would have to be given for, so that nobody waits for an effect that cannot come."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import BaseModel

from onelook.errors import SettingsError


def refuse_idle(settings: BaseModel, names: Sequence[str], *, without: str) -> None:
    """Refuse settings among `names` that were given, if the setting `without` asks for nothing.

    Raises:
        SettingsError: one was given.
    """
    idle = [name for name in names if name in settings.model_fields_set and not getattr(settings, without)]
    if idle:
        option = without.replace("_", "-")
        raise SettingsError(f"setting `{idle[0]}` has no effect without `{without}`", hint=f"add `--{option}`")
