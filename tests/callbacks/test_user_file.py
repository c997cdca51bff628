"""Observers from a user's file: which classes count, what is refused with file and line, and who may name the file."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from onelook.callbacks.user_file import load_callbacks
from onelook.errors import SettingsError
from onelook.training.callback import Callback

SEVERAL = """\
from __future__ import annotations
import abc
from dataclasses import dataclass, field
from onelook import Callback
from onelook.callbacks.console import ConsoleProgress

class _Shared(Callback):
    pass

class First(_Shared):
    def __init__(self, every=3, *others, **more):
        self.every = every

@dataclass
class Second(Callback):
    seen: list[int] = field(default_factory=list)

class Abstract(Callback, abc.ABC):
    @abc.abstractmethod
    def report(self): ...

class Demanding(Callback):
    def __init__(self, folder):
        self.folder = folder

class Other:
    pass

spare = First()
"""


def file_of(folder: Path, text: str, name: str = "watch.py") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_classes_defined_in_the_file_become_objects_and_imported_ones_do_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "onelook"):
        found = load_callbacks([file_of(tmp_path, SEVERAL)])
    assert [type(callback).__name__ for callback in found] == ["First", "Second"]
    assert all(isinstance(callback, Callback) for callback in found)
    assert caplog.text.count("is left out") == 1
    assert "callback `Demanding` of `" in caplog.text and "need arguments" in caplog.text


def test_several_files_keep_their_order_and_files_of_one_name_their_own_classes(tmp_path: Path) -> None:
    folders = tmp_path / "a", tmp_path / "b"
    paths = []
    for folder in folders:
        folder.mkdir()
        text = f"import onelook\nclass Watch(onelook.Callback):\n    place = {folder.name!r}\n"
        paths.append(file_of(folder, text))
    first, second, again = load_callbacks([paths[1], str(paths[0]), paths[1]])
    assert [callback.place for callback in (first, second, again)] == ["b", "a", "b"]  # type: ignore[attr-defined]
    assert again is not first


WRONG = [
    ("import onelook\n\nclass A(onelook.Callback:\n", "line 3: SyntaxError: "),
    ("x = 1\nimport nowhere_at_all\n", "line 2: ModuleNotFoundError: No module named 'nowhere_at_all'"),
    ("def f():\n    return 1 / 0\n\nf()\n", "line 2: ZeroDivisionError: division by zero"),
    (
        "import onelook\nclass A(onelook.Callback):\n    def __init__(self):\n        raise OSError('no\\ndisk')\n",
        "line 4: OSError: no disk",
    ),
    ("class A:\n    pass\n", "has no callback that can be made without arguments"),
    ("from onelook import Callback\n", "has no callback"),
    ("import onelook\nclass A(onelook.Callback):\n    def __init__(self, x): ...\n", "has no callback"),
]


@pytest.mark.parametrize(("text", "says"), WRONG)
def test_files_that_give_no_callback_are_refused_with_the_line(tmp_path: Path, text: str, says: str) -> None:
    path, modules = file_of(tmp_path, text), set(sys.modules)
    with pytest.raises(SettingsError) as caught:
        load_callbacks([path])
    assert f"`{path}`" in caught.value.message and says in caught.value.message
    assert caught.value.hint and "Traceback" not in str(caught.value)
    left = [name for name in set(sys.modules) - modules if name.startswith("onelook_callbacks_")]
    assert len(left) <= ("has no callback" in says or "OSError" in says), "a file that failed leaves no module"


def test_lines_are_told_for_relative_paths_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    file_of(tmp_path, "x = 1\ny = 1 / 0\n", "one.py")
    file_of(tmp_path, "def f(:\n", "broken_neighbour.py")
    file_of(tmp_path, "\n\nimport broken_neighbour\n", "two.py")
    for name, says in (("one.py", "line 2: ZeroDivisionError"), ("two.py", "line 3: SyntaxError: invalid syntax")):
        with pytest.raises(SettingsError) as caught:
            load_callbacks([name])
        assert caught.value.message.startswith(f"file `{name}` {says}"), caught.value.message


@pytest.mark.parametrize("name", ["missing.py", "notes.txt", "."])
def test_what_is_no_python_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "notes.txt").write_text("import onelook\n")
    with pytest.raises(SettingsError, match="which is not a Python file") as caught:
        load_callbacks([tmp_path / name])
    assert "ending in .py" in (caught.value.hint or "")
