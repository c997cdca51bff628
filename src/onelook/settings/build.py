"""Settings from defaults, a preset, a YAML file, and the command line or keywords; the later, the stronger."""

from __future__ import annotations

import logging
import os
import re
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from numbers import Integral
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from onelook.errors import SettingsError, combined
from onelook.files.bounded import StrPath, refuse_impossible
from onelook.files.yaml import line_of, load_yaml
from onelook.settings.foreign_names import MEANT, our_name
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.nearest_name import nearest_name
from onelook.settings.run_weights import file_of_run
from onelook.settings.series import OUTSIDE, names_of
from onelook.settings.train import IS_PART, TrainSettings

logger = logging.getLogger(__name__)

SettingsT = TypeVar("SettingsT", bound=BaseModel)
PRESETS = ("scratch-low", "scratch-med", "scratch-high", "objects365", "voc", "no-augmentation")
# Keys that users' files carry but that never had an effect in this family of trainers.
RETIRED = ("iou_t",)
_FILES = ("data", "weights", "teacher", "cfg", "hyp")


def build_settings(
    kind: type[SettingsT], given: Mapping[str, Any], *, file: Path | None = None, is_part: bool = False
) -> SettingsT:
    """Checked settings of the class `kind`.

    Args:
        given: what the user typed, by the names of the settings; the strongest source.
        file: a YAML file with any of the settings; its `hyp` and that of `given` may name a preset.
        is_part: others will be added: what settings need of each other is not checked yet.

    Raises:
        SettingsError: an unknown name (the nearest is suggested), or a value that is impossible; all are listed.
    """
    from_file = _known(kind, load_yaml(file), file) if file is not None else {}
    typed = _known(kind, given)
    merged = {**from_file, **typed}
    preset = merged.get("hyp", "")
    if preset:
        merged = {**_hyperparameters_in(preset_path(str(preset))), **merged}
    try:
        return kind.model_validate(merged, context={IS_PART: is_part})
    except ValidationError as problem:
        sources = {
            name: ""
            if name in typed
            else f" in {_place(file if name in from_file else preset_path(str(preset)), name)}"
            for name in merged
        }
        problems = [_sentence(error, kind, sources) for error in problem.errors()]
        meant = dict.fromkeys(MEANT[name] for error in problem.errors() if (name := str(error["loc"][0])) in MEANT)
        hint = "; ".join(meant) or None
        raise combined(SettingsError, "these settings cannot be used:", problems, hint=hint) from problem


def stored_settings(kind: type[SettingsT], stored: Mapping[str, Any]) -> SettingsT:
    """Checked settings as a run or a series has stored them: the file that `hyp` names, long read, may be gone.

    Raises:
        SettingsError: see `build_settings`.
    """
    return build_settings(kind, {**stored, "hyp": ""}).model_copy(update={"hyp": stored.get("hyp", "")})


def _hyperparameters_in(file: Path) -> dict[str, Any]:
    """What a file of hyperparameters holds; of a run's `settings.yaml`, its hyperparameters alone."""
    content = load_yaml(file)
    others = TrainSettings.model_fields.keys() - Hyperparameters.model_fields.keys()
    if others & content.keys() and content.keys() <= TrainSettings.model_fields.keys():
        _refuse_outside(TrainSettings, content, file)
        logger.info("`%s` holds the settings of a run: its hyperparameters are taken, the rest is not", file)
        content = {name: value for name, value in content.items() if name not in others}
    return _known(Hyperparameters, content, file)


def preset_path(name: str) -> Path:
    """The file of a shipped hyperparameter preset, or `name` itself if it is a path.

    Raises:
        SettingsError: neither a preset nor a file.
    """
    if name in PRESETS:
        return Path(str(resources.files("onelook.settings") / "presets" / f"{name}.yaml"))
    path = Path(name)
    if not path.is_file():
        raise SettingsError(
            f"setting `hyp` is `{name}`, which is neither a preset nor a file", hint=nearest_name(name, list(PRESETS))
        )
    return path


def _known(kind: type[BaseModel], given: Mapping[str, Any], file: Path | None = None) -> dict[str, Any]:
    names = list(kind.model_fields)
    unknown = [key for key in given if key not in names and key not in RETIRED]
    if unknown:
        problems = [f"`{key}` in {_place(file, key)}; {_cure_for(str(key), names)}" for key in unknown]
        raise combined(SettingsError, "unknown settings:", problems)
    if file is not None:
        _refuse_outside(kind, given, file)
    for key in RETIRED:
        if key in given:
            logger.warning("setting `%s` in %s has no effect and is left out", key, _place(file, key))
    return {key: _as_typed(kind, key, value, file) for key, value in given.items() if key not in RETIRED}


def _cure_for(unknown: str, known: Sequence[str]) -> str:
    ours = our_name(unknown, known)
    if ours is not None:
        return f"did you mean `{ours}`{', or `cfg` for a model without weights' if unknown == 'model' else ''}?"
    return nearest_name(unknown, known)


def _refuse_outside(kind: type[BaseModel], given: Mapping[str, Any], file: Path) -> None:
    """Files are data, whoever wrote them: what reaches outside is chosen by whoever types the command."""
    for key in given.keys() & names_of(kind, OUTSIDE):
        if given[key] not in (None, kind.model_fields[key].default):
            raise SettingsError(
                f"setting `{key}` in {_place(file, key)} names code to run, or a service to connect to, which no file "
                "may do",
                hint=f"type it: `--{key.replace('_', '-')}`, or the keyword `{key}` in Python",
            )


def _place(file: Path | None, key: str) -> str:
    """Where a setting was given."""
    return "the command" if file is None else f"file `{file}` line {line_of(file, str(key))}"


def _as_typed(kind: type[BaseModel], name: str, value: Any, file: Path | None) -> Any:
    """`value` as the command line would give it: a path as text, and one number or path where several may stand."""
    annotation = kind.model_fields[name].annotation
    if isinstance(value, Integral) and not isinstance(value, bool):  # NumPy's too
        value = str(value) if annotation is str else int(value)
    if name == "device" and type(value).__module__ == "torch":  # a `torch.device`, known without importing torch
        value = str(value)
    is_path = annotation in (Path, Path | None, list[Path]) or name in ("resume", "resume_evolve")
    if is_path or name in (*_FILES, "source", "transforms"):
        for one in value if isinstance(value, list | tuple) else [value]:
            if isinstance(one, str | os.PathLike):
                _refuse_unusable(name, one, file, is_path)
    if name in ("weights", "teacher"):
        value = file_of_run(value)
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if typing.get_origin(annotation) is not list:
        return value
    if typing.get_args(annotation)[0] is Path and isinstance(value, str):
        return [value]
    return [value] if isinstance(value, int) and not isinstance(value, bool) else value


def _refuse_unusable(name: str, path: StrPath, file: Path | None, is_path: bool) -> None:
    """Refuse what no disk can hold, an address of a file, and an empty path: it would be the current folder, or no run
    to resume; most likely a script meant another."""

    def where() -> str:
        return "" if file is None else f" in {_place(file, name)}"

    refuse_impossible(f"setting `{name}`", path, where=where)
    if name in _FILES and (found := re.match(r"(https?|ftp|s3|gs):/+(.+)", str(path))):  # a `Path` makes `//` one `/`
        raise SettingsError(
            f"setting `{name}` is the address `{found[1]}://{found[2]}`, and nothing is downloaded on its own",
            hint="fetch the file, then give the path of it",
        )
    if is_path and path == "":
        cure = "name what to resume" if name.startswith("resume") else "give a path (`.` is the current folder)"
        raise SettingsError(f"setting `{name}`{where()} is empty", hint=f"{cure}, or leave it out")


def _sentence(error: ErrorDetails, kind: type[BaseModel], sources: Mapping[str, str]) -> str:
    """What is wrong with one setting, in words; `sources` says where settings come from that were not typed."""
    name = str(error["loc"][0])
    if error["type"] == "missing":
        what = kind.model_fields[name].description or ""
        return f"`{name}` must be given: {what[0].lower()}{what[1:]}"
    place = "".join([f"`{name}`", *(f" number {part + 1}" for part in error["loc"][1:] if isinstance(part, int))])
    return f"{place}{sources.get(name, '')} is `{error['input']}`: {error['msg'][0].lower()}{error['msg'][1:]}"
