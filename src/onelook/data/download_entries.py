"""The `download` entries of a dataset YAML, checked, since anybody may have written them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onelook.errors import SettingsError
from onelook.files.archive_names import refusal_of
from onelook.files.bounded import printable
from onelook.files.web import WebFile, shown_address

_KEYS = ("url", "size", "sha256", "to")
_EXAMPLE = "write `download: [{url: https://..., size: 123, sha256: ...}]`; archives are zip files"


def archives_of(content: Mapping[str, Any], path: Path, *, no_hash: bool) -> list[tuple[WebFile, str]]:
    """The archives that a dataset YAML says to fetch, each with the folder below the root of the dataset that its
    content goes to; empty for the root itself.

    Raises:
        SettingsError: nothing, a script, something without hash, or something that cannot be understood.
    """
    told = content.get("download")
    where = f"dataset file `{printable(path)}`"
    if told in (None, "", []):
        raise SettingsError(f"{where} names nothing to fetch", hint=f"see the comments in it, or {_EXAMPLE}")
    if isinstance(told, str):
        what = "an address without size and SHA-256" if told.strip().startswith("http") else "a script"
        raise SettingsError(f"{where}: `download` is {what}, which Onelook never runs or fetches", hint=_EXAMPLE)
    entries = told if isinstance(told, list) else [told]
    return [_archive(entry, f"{where}: `download` number {n}", no_hash) for n, entry in enumerate(entries, start=1)]


def _archive(entry: object, where: str, no_hash: bool) -> tuple[WebFile, str]:
    if not isinstance(entry, dict) or not isinstance(entry.get("url"), str):
        raise SettingsError(f"{where} has no `url`", hint=_EXAMPLE)
    unknown = [str(key) for key in entry if key not in _KEYS]
    if unknown:
        raise SettingsError(f"{where}: unknown key `{unknown[0]}`", hint=f"the keys are {', '.join(_KEYS)}")
    size, sha256, to = entry.get("size"), str(entry.get("sha256") or ""), entry.get("to", "")
    if size is not None and (type(size) is not int or size < 1):
        raise SettingsError(f"{where}: `size` is {size!r}, not a number of bytes")
    if sha256 and (len(sha256) != 64 or not set(sha256.lower()) <= set("0123456789abcdef")):
        raise SettingsError(f"{where}: `sha256` is `{sha256[:80]}`, not 64 hexadecimal digits")
    if (not sha256 or size is None) and not no_hash:
        raise SettingsError(
            f"{where} gives no {'size' if sha256 else 'SHA-256'} for `{shown_address(entry['url'])}`: "
            "anything could arrive",
            hint="ask who made the YAML, or pass `--no-hash` to accept any file",
        )
    if to and (not isinstance(to, str) or refusal_of(to) is not None):
        raise SettingsError(f"{where}: `to` is {to!r}", hint="give the name of a folder below that of the dataset")
    return WebFile(entry["url"], size, sha256), to


def download_root(told: object, yaml_path: Path) -> Path:
    """The target folder: always below the folder of the YAML, wherever that comes from.

    Raises:
        SettingsError: `told`, the `path` of the YAML, leads out of there.
    """
    folder = yaml_path.parent
    if told not in (None, "") and not isinstance(told, str):
        raise SettingsError(f"dataset file `{printable(yaml_path)}`: `path` is {told!r}, not the name of a folder")
    root = Path(os.path.normpath(folder / str(told or ".")))
    if not root.is_relative_to(folder) or not root.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(
            f"dataset file `{printable(yaml_path)}`: `path` is `{told}`, outside the folder of the file",
            hint="put the file where the data should go, with `path: .`",
        )
    return root
