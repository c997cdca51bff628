"""Command lines as users of other trainers type them: what they are called here, with the whole corrected line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from onelook.errors import UsageError
from onelook.settings.foreign_names import RENAMED, VALUES, our_name, plain_name

# word typed as the command -> our command, or its beginning
COMMAND_HABITS = {
    "predict": "detect", "infer": "detect", "inference": "detect", "track": "detect --tracker bytetrack", "test": "val",
    "validate": "val", "eval": "val", "evaluate": "val", "fit": "train", "resume": "train --resume",
    "tune": "evolve", "hyp": "evolve", "bench": "benchmark", "benchmarks": "benchmark",
    "convert_data": "convert-data", "doctor": "check", "summary": "info", "checks": "env", "version": "--version",
    "help": "--help", "list": "models", "zoo": "models", "web": "serve", "server": "serve",
}  # fmt: skip
OTHER_TASKS = ("segment", "classify", "pose", "obb")
# Words that other command lines put before the command: the task, or a program.
TASKS = ("detect", "yolo", "task=detect")
SIZES = re.compile(r"yolo(?:v|x|)[-_]?\d*[-_]?(?:n|s|m|l|x|nano|tiny)6?(?:\.yaml)?", re.IGNORECASE)
OF_SEARCH = {"iterations": "evolve"}
NEGATED = ("show_labels", "show_conf")
OPTION_OF_SUFFIX = {
    **dict.fromkeys((".yaml", ".yml"), "data"),
    **dict.fromkeys((".pt", ".pth", ".safetensors", ".onnx"), "weights"),
    **dict.fromkeys((".jpg", ".jpeg", ".png", ".mp4", ".avi", ".mov"), "source"),
}
"""Ending of a file that is given without an option -> the option that it belongs to."""


def corrected_command(typed: Sequence[str], commands: Collection[str]) -> UsageError | None:
    """The error for a line whose command has another name here; None if its command is ours or unheard of.

    Args:
        typed: the words after `onelook`.
    """
    words = list(typed)
    while len(words) > 1 and words[0] in TASKS and _command_of(words[1], commands):
        words = words[1:]  # `yolo detect train ...`: the task comes first
    if words and words[0].removeprefix("task=") in OTHER_TASKS:
        task = words[0].removeprefix("task=")
        return UsageError(f"`{task}` is a task that Onelook does not have", hint="it detects objects, in boxes")
    command = _command_of(words[0], commands) if words else None
    if command is None or command == typed[0]:
        return None
    rest = [_option(word, command, None, value=after) for word, after in pairwise([*words[1:], ""])]
    line = shlex.join(["onelook", *command.split(), *(word for each in rest for word in each)])
    return UsageError(
        f"command `{' '.join(typed[: len(typed) - len(rest)])}` is called `{command}` here", hint=f"type `{line}`"
    )


def corrected_options(
    command: str, typed: Sequence[str], known: Iterable[str], positional: Sequence[str] = ()
) -> UsageError | None:
    """The error for options that other trainers write in another way; None if each is ours or unheard of.

    Args:
        command: ours.
        typed: the words after it.
        known: the options of the command, with their dashes.
        positional: names of the arguments of the command that stand alone.
    """
    names = {plain_name(name) for name in known if name.startswith("--")}
    words: list[str] = []
    foreign: list[str] = []
    is_leading = not positional
    for before, word, after in zip(["", *typed], typed, [*typed[1:], ""], strict=False):
        is_leading = is_leading and not word.startswith("-")
        is_value = before.startswith("--") and "=" not in before
        option = OPTION_OF_SUFFIX.get(Path(word).suffix.lower()) if is_leading and "=" not in word else None
        if option in names:
            ours = [f"--{option}", word]
        elif not _is_foreign(word, names, positional) or (is_value and not word.startswith("--")):
            ours = [word]
        else:
            ours = _option(word, command, names, positional, value=after)
        if ours != [word]:
            foreign.append(word.partition("=")[0] if word.startswith("-") else word)
        words += ours
    if not foreign:
        return None
    is_one = len(foreign) == 1
    listed = ", ".join(f"`{word}`" for word in foreign)
    problem = f"onelook {command}: {listed} {'is' if is_one else 'are'} spelled differently here"
    return UsageError(problem, hint=f"type `{shlex.join(['onelook', command, *words])}`")


def _command_of(word: str, commands: Collection[str]) -> str | None:
    name = word.removeprefix("mode=").lower()
    return name if name in commands else COMMAND_HABITS.get(name)


def _is_option(word: str) -> bool:
    """Whether a word is an option: here these have two dashes, elsewhere one letter may have one, as in `-d`."""
    return word.startswith("--") or (len(word) == 2 and word[0] == "-" and word[1].isalpha())


def _is_foreign(word: str, known: set[str], positional: Sequence[str]) -> bool:
    """Whether a word is an option under a foreign name, or an assignment to an option: `imgsz=640`."""
    typed, equals, _ = word.partition("=")
    name = plain_name(typed)
    if _is_option(word):
        is_known = name in known or sum(each.startswith(name) for each in known) == 1
        return not (is_known and word.startswith("--")) and (name in RENAMED or name in positional)
    return bool(equals) and typed.isidentifier() and (name in known or name in RENAMED or typed in positional)


def _option(
    word: str, command: str, known: set[str] | None, positional: Sequence[str] = (), *, value: str = ""
) -> list[str]:
    """`word` as it is written here; `known` None means that any of our options may stand; `value` is the next word."""
    typed, equals, assigned = word.partition("=")
    value = assigned if equals else value
    name = plain_name(typed)
    if not _is_option(word) and not (equals and typed.isidentifier()):
        return [word]
    if known is None:
        ours = OF_SEARCH.get(name, "") if command == "evolve" else ""
        ours = ours or RENAMED.get(name, name)
    else:
        ours = name if name in known else our_name(name, {*known, *positional}) or name
    if name == "model" and command == "train" and SIZES.fullmatch(value):
        ours = "cfg"  # the name of a model, not a file of weights
    if name in NEGATED:
        return [f"--{ours.replace('_', '-')}"] if value.lower() in ("false", "0", "no") else []
    if name == "pretrained" and assigned.lower() in ("true", "false"):
        return []  # the weights are chosen by their name
    if ours in positional:
        return [value] if equals else []
    if known is not None and ours not in known:
        return [word]
    option = f"--{ours.replace('_', '-')}"
    if _is_option(word):
        return [f"{option}={value}" if equals else option]
    value = VALUES.get((ours, value.lower()), value)
    return [option] if value.lower() == "true" else [option, value]
