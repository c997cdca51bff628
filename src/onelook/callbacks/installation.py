"""Installed versions against the required ones, and the commit of a checkout; installs nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from onelook.errors import DataError
from onelook.files.bounded import read_bounded

ROOT = Path(__file__).parents[3]
MAX_BYTES = 1 << 22


def required_packages(*, extras: bool = False) -> dict[str, str]:
    """The minimum version of every package that Onelook needs, or with `extras` its extras too, by name."""
    lines = (line for line in _requirements() if extras or "extra ==" not in line)
    found = [re.match(r"([A-Za-z0-9_.-]+)[>=]=([0-9.]+)", line) for line in lines]
    return {match[1]: match[2] for match in found if match}


@lru_cache
def _requirements() -> tuple[str, ...]:
    """Those of the installed package, whose metadata hold the whole README; none if it is not installed."""
    try:
        return tuple(requires("onelook") or ())
    except PackageNotFoundError:
        return ()


@lru_cache
def installed_version(package: str) -> str:
    """The version of a package; empty if it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def unmet_requirements() -> Iterator[str]:
    """A sentence for every required package that is missing or too old."""
    for package, minimum in required_packages().items():
        found = installed_version(package)
        if _numbers(found) < _numbers(minimum):
            yield f"Onelook needs {package} {minimum} or newer; {f'{found} is' if found else 'it is not'} installed"


def checkout_commit(root: Path = ROOT) -> str:
    """The commit of a Git checkout, read from its files; empty without a checkout."""
    git = root / ".git"
    if git.is_file():  # of another working tree of the same repository
        git = root / _text(git).removeprefix("gitdir: ")
    head = _text(git / "HEAD")
    if not head.startswith("ref: "):
        return _commit(head)
    reference = head.removeprefix("ref: ")
    shared = git / (_text(git / "commondir") or ".")
    packed = (line.partition(" ") for line in _text(shared / "packed-refs").splitlines())
    return _commit(_text(shared / reference) or next((sha for sha, _, name in packed if name == reference), ""))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", re.split(r"[+a-z]", text)[0]))


def _commit(text: str) -> str:
    return text[:12] if re.fullmatch(r"[0-9a-f]{40,64}", text) else ""


def _text(path: Path) -> str:
    try:
        return read_bounded(path, MAX_BYTES).decode("utf-8", "replace").strip()
    except DataError:
        return ""
