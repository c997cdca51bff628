"""Callbacks from Python files that the user names on the command line; no other file may choose what code runs."""

from __future__ import annotations

import hashlib
import inspect
import logging
import sys
import traceback
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import module_from_spec
from pathlib import Path
from types import ModuleType

from onelook.errors import OnelookError, SettingsError
from onelook.training.callback import Callback

logger = logging.getLogger(__name__)


def load_callbacks(paths: Sequence[str | Path]) -> list[Callback]:
    """One instance of every `Callback` class that the files define, in the order of files and lines.

    Classes that a file only imports, or whose name begins with `_`, are left out; so are, with a warning, those that
    need arguments. The files are run again at every call.

    Args:
        paths: as typed by the user; never from a file of settings or a checkpoint.

    Raises:
        SettingsError: a file is missing, cannot be run, or gives no callback.
    """
    return [callback for path in paths for callback in _callbacks_of(Path(path))]


def _callbacks_of(path: Path) -> list[Callback]:
    if path.suffix != ".py" or not path.is_file():
        raise SettingsError(
            f"setting `callbacks` names `{path}`, which is not a Python file",
            hint="give a file ending in .py; relative paths start at the current folder",
        )
    found = []
    for kind in _classes_of(_run(path)):
        if _needs_arguments(kind):
            logger.warning("callback `%s` of `%s` is left out: its objects need arguments", kind.__name__, path)
            continue
        try:
            found.append(kind())
        except Exception as problem:
            raise _in_file(path, problem) from problem
    if not found:
        raise SettingsError(
            f"file `{path}` has no callback that can be made without arguments",
            hint="define a class in it that inherits from `onelook.Callback`",
        )
    return found


class _LeavesNothing(SourceFileLoader):
    """Loads a file without writing byte code beside it, into a folder of the user's."""

    def set_data(self, *_: object, **__: object) -> None:
        """Write nothing."""


def _run(path: Path) -> ModuleType:
    """The file as a module under a unique name in `sys.modules`, which dataclasses and others need while it runs."""
    name = f"onelook_callbacks_{hashlib.sha256(str(path.resolve()).encode(errors='surrogateescape')).hexdigest()[:16]}"
    loader = _LeavesNothing(name, str(path))
    module = module_from_spec(ModuleSpec(name, loader, origin=str(path)))
    module.__file__ = str(path)
    sys.modules[name] = module
    try:
        loader.exec_module(module)
    except Exception as problem:
        del sys.modules[name]
        raise _in_file(path, problem) from problem
    return module


def _classes_of(module: ModuleType) -> list[type[Callback]]:
    return [
        value
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, Callback)
        and value.__module__ == module.__name__
        and not name.startswith("_")
        and not inspect.isabstract(value)
    ]


def _needs_arguments(kind: type[Callback]) -> bool:
    empty, optional = inspect.Parameter.empty, (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(kind).parameters.values()
    return any(parameter.default is empty and parameter.kind not in optional for parameter in parameters)


def _in_file(path: Path, problem: Exception) -> OnelookError:
    """An error in the user's file, with its line."""
    own_names = {str(path), str(path.absolute())}
    frames = traceback.extract_tb(problem.__traceback__)
    line = next((frame.lineno for frame in reversed(frames) if frame.filename in own_names), None)
    text = " ".join(str(problem).split())
    if isinstance(problem, SyntaxError) and problem.filename in own_names:
        line, text = problem.lineno, problem.msg
    where = f"file `{path}`" if line is None else f"file `{path}` line {line}"
    return SettingsError(f"{where}: {type(problem).__name__}: {text}", hint="the file is run as Python; correct it")
