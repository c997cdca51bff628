"""Command lines as users of other trainers type them: what they are called here, with the whole corrected line."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from onelook.errors import UsageError

# word typed as the command -> our command
COMMAND_HABITS = {
    "predict": "detect", "infer": "detect", "inference": "detect", "test": "val", "validate": "val", "eval": "val",
    "evaluate": "val", "fit": "train", "tune": "evolve", "hyp": "evolve", "bench": "benchmark",
    "benchmarks": "benchmark", "convert_data": "convert-data", "doctor": "check", "summary": "info",
}  # fmt: skip
# Words that other command lines put before the command: the task, or a program.
TASKS = ("detect", "yolo", "task=detect")
SIZES = re.compile(r"yolo(?:v|x|)[-_]?\d*[-_]?(?:n|s|m|l|x|nano|tiny)6?(?:\.yaml)?", re.IGNORECASE)

# option name without dashes, `-` written `_` -> our option, for every command that has it
OPTION_HABITS = {
    "batch": "batch-size", "model": "weights", "conf": "conf-thres", "confidence": "conf-thres", "iou": "iou-thres",
    "nms": "iou-thres", "include": "format", "formats": "format", "img": "imgsz", "img_size": "imgsz", "size": "imgsz",
    "image_size": "imgsz", "resolution": "imgsz", "input_size": "imgsz", "lr": "lr0", "learning_rate": "lr0",
    "gpu": "device", "gpus": "device", "devices": "device", "num_workers": "workers", "config": "cfg", "yaml": "data",
    "dataset": "data", "input": "source", "images": "source", "path": "source",
    "weight": "weights", "checkpoint": "weights", "ckpt": "weights", "pretrained": "weights", "save_dir": "project",
    "num_epochs": "epochs", "epoch": "epochs", "max_epochs": "epochs", "label_smooth": "label-smoothing",
    "random_seed": "seed", "single_class": "single-cls", "vid_step": "vid-stride", "max_dets": "max-det",
    "agnostic": "agnostic-nms", "exist": "exist-ok", "show": "view-img", "save_frames": "save-format",
    "line_width": "line-thickness", "show_labels": "hide-labels", "show_conf": "hide-conf",
    "optimiser": "optimizer", "box_gain": "box", "cls_gain": "cls", "tracker": "track", "loggers": "track",
}  # fmt: skip
NEGATED = ("show_labels", "show_conf")


def corrected_command(typed: Sequence[str], commands: Mapping[str, str]) -> UsageError | None:
    """The error for a line whose command has another name here; None if its command is ours or unheard of.

    Args:
        typed: the words after `onelook`.
        commands: our commands.
    """
    words = list(typed)
    while len(words) > 1 and words[0] in TASKS and _command_of(words[1], commands):
        words = words[1:]  # `yolo detect train ...`: the task comes first
    command = _command_of(words[0], commands) if words else None
    if command is None or command == typed[0]:
        return None
    rest = [_option(word, command, None) for word in words[1:]]
    line = shlex.join(["onelook", command, *(word for each in rest for word in each)])
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
    names = {name.replace("_", "-") for name in known}
    words: list[str] = []
    foreign: list[str] = []
    for before, word in pairwise(["", *typed]):
        is_value = before.startswith("--") and "=" not in before
        if not _is_foreign(word, names, positional) or (is_value and not word.startswith("--")):
            words.append(word)
            continue
        ours = _option(word, command, names, positional)
        if ours != [word]:
            foreign.append(word.partition("=")[0] if word.startswith("-") else word)
        words += ours
    if not foreign:
        return None
    is_one = len(foreign) == 1
    listed = ", ".join(f"`{word}`" for word in foreign)
    problem = f"onelook {command}: {listed} {'is' if is_one else 'are'} written in another way here"
    return UsageError(problem, hint=f"type `{shlex.join(['onelook', command, *words])}`")


def _command_of(word: str, commands: Mapping[str, str]) -> str | None:
    return word if word in commands else COMMAND_HABITS.get(word.lower())


def _is_foreign(word: str, known: set[str], positional: Sequence[str]) -> bool:
    """Whether a word is an option under a foreign name, or an assignment to an option: `imgsz=640`."""
    name, equals, _ = word.partition("=")
    option = "--" + _plain(name).replace("_", "-")
    if word.startswith("--"):
        is_known = option in known or sum(each.startswith(option) for each in known) == 1
        return not is_known and _plain(name) in OPTION_HABITS
    return bool(equals) and name.isidentifier() and (option in known or name in (*positional, *OPTION_HABITS))


def _option(word: str, command: str, known: set[str] | None, positional: Sequence[str] = ()) -> list[str]:
    """`word` as it is written here; `known` None means that any of our options may stand."""
    name, equals, value = word.partition("=")
    plain = _plain(name)
    if not word.startswith("--") and not (equals and name.isidentifier()):
        return [word]
    ours = OPTION_HABITS.get(plain, plain).replace("_", "-")
    if plain == "model" and command == "train" and SIZES.fullmatch(value):
        ours = "cfg"  # the name of a model, not a file of weights
    if plain in NEGATED:
        return [f"--{ours}"] if value.lower() in ("false", "0", "no") else []
    if ours in positional:
        return [value] if equals else []
    if known is not None and f"--{ours}" not in known:
        return [word]
    if word.startswith("--"):
        return [f"--{ours}={value}" if equals else f"--{ours}"]
    return [f"--{ours}", value]


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").lower()
