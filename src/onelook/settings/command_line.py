"""Settings as command-line options: built from the fields, so that name, type, default and help exist once."""

from __future__ import annotations

import argparse
import json
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from onelook.settings.run_weights import file_of_run
from onelook.settings.series import extra

LIST_METAVARS = {str: "NAME", Path: "PATH", dict[str, Any]: "FILE"}


def add_options(parser: argparse.ArgumentParser, kind: type[BaseModel], *, positional: Sequence[str] = ()) -> None:
    """Add an option for every field of `kind`; options that are not typed leave no trace in the result.

    Fields in `positional` are arguments that stand alone, in this order; all others are options.
    `imgsz` is spelt `--imgsz`, `batch_size` both `--batch-size` and `--batch_size`; aliases come from the field.
    In the help, the fields of each class that `kind` is made of stand together, under the title of the class.
    """
    required = [
        name.upper() if name in positional else f"--{name} {_behaviour(field)['metavar']}"
        for name, field in kind.model_fields.items()
        if field.is_required()
    ]
    parser.usage = " ".join([parser.prog, *required, "[options]"])
    for name in positional:
        field = kind.model_fields[name]
        count: dict[str, Any] = {"nargs": "+"} if typing.get_origin(field.annotation) is list else {}
        if not field.is_required():
            count = {"nargs": "?", "default": argparse.SUPPRESS}
        parser.add_argument(name, metavar=name.upper(), help=field.description or "", **count)
    parts = [part for part in kind.__mro__ if issubclass(part, BaseModel) and part.model_fields]
    groups = {title: parser.add_argument_group(title) for title in dict.fromkeys(map(_title, parts))}
    home = {name: _title(part) for part in parts for name in part.model_fields}  # the last part that has it: its origin
    for name, field in kind.model_fields.items():
        if name not in positional:
            groups[home[name]].add_argument(*_spellings(name, field), dest=name, **_behaviour(field))


def settings_arguments(
    *kinds: type[BaseModel], positional: Sequence[str] = (), epilog: str | None = None
) -> Callable[[argparse.ArgumentParser], None]:
    """What gives a command an option for every field of `kinds`, see `add_options`, and one for a file of settings."""

    def add_arguments(parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
        for kind in kinds:
            add_options(parser, kind, positional=positional)
        parser.epilog = epilog

    return add_arguments


def typed_options(arguments: argparse.Namespace, kind: type[BaseModel]) -> dict[str, Any]:
    """What the user typed, by the names of the fields of `kind`; the folder of a run as its best weights."""
    typed = {name: value for name, value in vars(arguments).items() if name in kind.model_fields}
    return {**typed, "weights": file_of_run(typed["weights"])} if "weights" in typed else typed


def as_arguments(given: Mapping[str, Any]) -> list[str]:
    """The words that, typed, would give the settings `given`.

    >>> as_arguments({"batch_size": 8, "rect": True, "freeze": [1, 2]})
    ['--batch-size=8', '--rect=yes', '--freeze', '1', '2']
    """
    words = []
    for name, value in given.items():
        option = f"--{name.replace('_', '-')}"
        if isinstance(value, list | tuple):
            texts = (json.dumps(part) if isinstance(part, dict) else str(part) for part in value)
            words += [option, *texts] if value else []
        elif value is not None:
            text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
            words.append(f"{option}={text}")
    return words


def _title(kind: type[BaseModel]) -> str:
    return str(kind.model_config.get("title") or "settings")


def _spellings(name: str, field: FieldInfo) -> list[str]:
    spellings = [f"--{name.replace('_', '-')}"]
    if "_" in name:
        spellings.append(f"--{name}")
    return spellings + [str(alias) for alias in extra(field).get("aliases", [])]


def _behaviour(field: FieldInfo) -> dict[str, Any]:
    """The keywords for argparse; values stay text, the settings class converts and checks them."""
    options: dict[str, Any] = {"default": argparse.SUPPRESS, "help": _help(field)}
    inner = _without_none(field.annotation)
    origin = typing.get_origin(inner)
    if inner is bool:
        options |= {"nargs": "?", "const": True, "type": _boolean, "metavar": "yes|no"}
    elif origin is list:
        options |= {"nargs": "+", "metavar": LIST_METAVARS.get(typing.get_args(inner)[0], "N")}
    elif origin in (typing.Union, types.UnionType) and bool in typing.get_args(inner):
        options |= {"nargs": "?", "const": True, "metavar": "PATH"}
    elif origin is Literal:
        options |= {"metavar": "|".join(str(choice) for choice in typing.get_args(inner))}
    else:
        options |= {"metavar": {int: "N", float: "X", Path: "PATH"}.get(typing.cast(type, inner), "TEXT")}
    bare = extra(field).get("bare")
    if bare is not None:
        options |= {"nargs": "?", "const": bare}
    return options


def _help(field: FieldInfo) -> str:
    text = (field.description or "").replace("%", "%%")
    if field.is_required():
        return f"{text} (required)"
    default = field.default
    if default is False or default in ("", None, []):
        return text
    shown = " ".join(map(str, default)) if isinstance(default, list) else default
    return f"{text} (default: {shown})"


def _boolean(text: str) -> bool:
    words = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
    if text.lower() not in words:
        raise argparse.ArgumentTypeError(f"`{text}` is neither yes nor no")
    return words[text.lower()]


def _without_none(annotation: Any) -> Any:
    choices = [choice for choice in typing.get_args(annotation) if choice is not type(None)]
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return choices[0] if is_union and len(choices) == 1 else annotation
