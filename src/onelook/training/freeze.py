"""Layers that do not learn, batch-norm statistics included."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from onelook.errors import SettingsError
from onelook.models.detector import DetectionModel


def frozen_rows(model: DetectionModel, freeze: list[int]) -> list[nn.Module]:
    """The rows of the layer table that `freeze` names: one number N means rows 0 to N-1, several mean just those.

    Raises:
        SettingsError: the model has no such row, or nothing would be left to learn.
    """
    wanted = list(range(freeze[0])) if len(freeze) == 1 else freeze
    rows = list(model.model.children())
    for number in wanted:
        if number >= len(rows):
            raise SettingsError(
                f"setting `freeze` is {freeze}, but the model has {len(rows)} layers", hint="layers count from 0"
            )
    frozen = [rows[number] for number in wanted]
    if not any(parameter.numel() for row in rows if row not in frozen for parameter in row.parameters()):
        raise SettingsError(
            f"setting `freeze` is {freeze}, which leaves nothing to learn: the model has {len(rows)} layers",
            hint="freeze fewer layers; 0 freezes none",
        )
    return frozen


def set_training_mode(model: nn.Module, rows: Sequence[nn.Module]) -> None:
    """Put `model` in training mode and its frozen `rows` in evaluation mode."""
    model.train()
    for row in rows:
        row.eval()
