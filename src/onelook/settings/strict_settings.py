"""What the settings of all commands have in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from onelook.errors import SettingsError


class StrictSettings(BaseModel):
    """Settings that never change and know no other names; the text under a field is its description."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    def refuse_idle(self, *names: str, without: str) -> None:
        """Refuse settings among `names` that were given if `without` asks for nothing: they cannot have an effect.

        Raises:
            SettingsError: one was given.
        """
        idle = [name for name in names if name in self.model_fields_set and not getattr(self, without)]
        if idle:
            option = without.replace("_", "-")
            raise SettingsError(f"setting `{idle[0]}` has no effect without `{without}`", hint=f"add `--{option}`")
