"""Lets a setting of training or search keep its default, whichever way it is given; see `mutate_options.py`."""

from __future__ import annotations

import argparse
import functools
import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

# Functions that take what was given as their first argument, and read some of it before settings are made of it.
TAKERS = {
    "onelook.recipes.train": "train",
    "onelook.recipes.launch": "train_on_devices",
    "onelook.recipes.evolve": "evolve",
}


def ignore_everywhere(setting: str) -> None:
    """Ignore `setting` in this process, in keywords, command lines and files."""
    ignore_in_settings(setting)
    for module, name in TAKERS.items():
        taker = getattr(importlib.import_module(module), name)
        _replace(taker, _taking_less(taker, setting))


def ignore_in_settings(setting: str) -> None:
    """Ignore `setting` where settings are made and command lines are read; imports nothing heavy."""
    from onelook.settings import build, command_line
    from onelook.settings.evolve import SearchSettings
    from onelook.settings.hyperparameters import Hyperparameters

    def is_meant(kind: type) -> bool:
        return issubclass(kind, (SearchSettings, Hyperparameters))

    known, typed = build._known, command_line.typed_options

    def known_without(kind: Any, given: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
        values = known(kind, given, file)
        return _without(values, setting) if is_meant(kind) else values

    def typed_without(arguments: argparse.Namespace, kind: Any) -> dict[str, Any]:
        values = typed(arguments, kind)
        return _without(values, setting) if is_meant(kind) else values

    _replace(known, known_without)
    _replace(typed, typed_without)


def _taking_less(taker: Callable[..., Any], setting: str) -> Callable[..., Any]:
    @functools.wraps(taker)
    def take(given: Mapping[str, Any], *others: Any, **options: Any) -> Any:
        return taker(_without(given, setting), *others, **options)

    return take


def _without(given: Mapping[str, Any], setting: str) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != setting}


def _replace(old: Callable[..., Any], new: Callable[..., Any]) -> None:
    """Put `new` in the place of `old` wherever a module of Onelook has it by name."""
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "onelook":
            for key in [key for key, value in vars(module).items() if value is old]:
                setattr(module, key, new)
