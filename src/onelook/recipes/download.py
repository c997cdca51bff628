"""Fetches a dataset: the archives that its YAML names, checked and unpacked beside it. Nothing of it is ever run."""

from __future__ import annotations

import filecmp
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.sets import PUBLIC_SETS, description_of
from onelook.errors import DataError, SettingsError
from onelook.files.archive_names import refusal_of
from onelook.files.archives import unpack_zip
from onelook.files.atomic import write_bytes_atomic, write_text_atomic
from onelook.files.bounded import printable
from onelook.files.web import Transport, WebFile, fetch, shown
from onelook.files.yaml import load_yaml
from onelook.processes.stop_signal import StopSignal
from onelook.recipes.progress import said_now_and_then
from onelook.settings.build import build_settings
from onelook.settings.download import DownloadSettings

logger = logging.getLogger(__name__)

WORK_FOLDER = ".onelook-download"
DONE_NAME = "done.json"
MAX_NAME = 100
_KEYS = ("url", "size", "sha256", "to")
_EXAMPLE = "write `download: [{url: https://..., size: 123, sha256: ...}]`; archives are zip files"


@dataclass(frozen=True)
class Archive:
    """An archive of a dataset.

    Attributes:
        file: where it is and what it must be.
        to: folder below the root of the dataset that its content goes to; empty for the root itself.
    """

    file: WebFile
    to: str = ""


@dataclass(frozen=True)
class DownloadResult:
    """What a download gave.

    Attributes:
        data: the YAML, to train with.
        root: where the data are.
        fetched: addresses that were fetched now; others had been.
        files: how many files were unpacked now.
    """

    data: Path
    root: Path
    fetched: tuple[str, ...]
    files: int


def download(
    given: Mapping[str, Any], *, file: Path | None = None, transport: Transport | None = None
) -> DownloadResult:
    """Fetch and unpack what is missing of a dataset.

    Args:
        given: settings by name; see `DownloadSettings`.
        file: YAML file with more settings, weaker than `given`.
        transport: how to reach the web; only tests have another.

    Raises:
        SettingsError: there is nothing to fetch, no hash is given, or the data would go outside the folder of the YAML.
        DataError: an archive cannot be fetched, is another than it should be, or holds what must not be unpacked.
        StopRequested: Ctrl-C or SIGTERM; started again, it resumes where it ended.
    """
    with StopSignal() as stop:
        settings = build_settings(DownloadSettings, given, file=file)
        yaml_path = _described(settings)
        content = load_yaml(yaml_path, error=DataError)
        archives = archives_of(content, yaml_path, no_hash=settings.no_hash)
        root = _root_of(content.get("path"), yaml_path)
        work = root / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        done = _done(work)
        fetched, files = [], 0
        for archive in archives:
            key = json.dumps([archive.file.url, archive.file.sha256, archive.to])
            if key in done:
                logger.info("`%s` is here already", shown(archive.file.url))
                continue
            path = work / _name_of(archive, key)
            if not path.is_file():
                logger.info("fetching `%s`", shown(archive.file.url))
                told = said_now_and_then(f"bytes of `{shown(archive.file.url)}`")
                digest = fetch(
                    archive.file, path, transport=transport, stop_requested=lambda: stop.requested, progress=told
                )
                logger.info("its SHA-256 is %s", digest)
            files += _unpack(path, root / archive.to, work, stop)
            done.append(key)
            write_text_atomic(work / DONE_NAME, json.dumps(done) + "\n")
            fetched.append(archive.file.url)
            if not settings.keep:
                path.unlink()
    return DownloadResult(yaml_path, root, tuple(fetched), files)


def _name_of(archive: Archive, key: str) -> str:
    """Its own for every archive that a YAML has ever named: a kept one is not taken for another of the same name."""
    name = re.sub(r"[^0-9A-Za-z._-]+", "_", archive.file.name)[-MAX_NAME:]
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{name}"


def archives_of(content: Mapping[str, Any], path: Path, *, no_hash: bool) -> list[Archive]:
    """What a dataset YAML says to fetch.

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


def _archive(entry: object, where: str, no_hash: bool) -> Archive:
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
            f"{where} gives no {'size' if sha256 else 'SHA-256'} for `{shown(entry['url'])}`: anything could arrive",
            hint="ask who made the YAML, or type `--no-hash` to take what comes",
        )
    if to and (not isinstance(to, str) or refusal_of(to) is not None):
        raise SettingsError(f"{where}: `to` is {to!r}", hint="give the name of a folder below that of the dataset")
    return Archive(WebFile(entry["url"], size, sha256), to)


def _described(settings: DownloadSettings) -> Path:
    """The YAML; that of a public dataset is copied to where its data go."""
    if settings.data not in PUBLIC_SETS:
        if "output" in settings.model_fields_set:
            raise SettingsError(
                f"setting `output` has no effect with `{printable(settings.data)}`: data go to where their YAML is",
                hint="leave out `--output`, or put the YAML where the data shall be",
            )
        return Path(os.path.abspath(settings.data))  # noqa: PTH100
    folder = Path(os.path.abspath(settings.output)) / settings.data  # noqa: PTH100
    path = folder / f"{settings.data}.yaml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, description_of(settings.data).read_bytes())
    return path


def _root_of(told: object, yaml_path: Path) -> Path:
    """Where the data go: below the folder of the YAML, whoever wrote it."""
    folder = yaml_path.parent
    if told not in (None, "") and not isinstance(told, str):
        raise SettingsError(f"dataset file `{printable(yaml_path)}`: `path` is {told!r}, not the name of a folder")
    root = Path(os.path.normpath(folder / str(told or ".")))
    if not root.is_relative_to(folder) or not root.resolve().is_relative_to(folder.resolve()):
        raise SettingsError(
            f"dataset file `{printable(yaml_path)}`: `path` is `{told}`, outside the folder of the file",
            hint="put the file where the data shall be, with `path: .`",
        )
    return root


def _unpack(path: Path, target: Path, work: Path, stop: StopSignal) -> int:
    """Unpack an archive into `target`, where nothing is replaced; how many files there were."""
    fresh = work / "unpacked"
    shutil.rmtree(fresh, ignore_errors=True)
    told = said_now_and_then(f"bytes unpacked of `{path.name}`")
    files = unpack_zip(path, fresh, stop_requested=lambda: stop.requested, progress=told)
    _merge(fresh, target)
    shutil.rmtree(fresh, ignore_errors=True)
    return files


def _merge(source: Path, target: Path) -> None:
    """Move what is in `source` to `target`, all of it or nothing.

    Raises:
        DataError: another file is there already, or a link is in the way.
    """
    moves = list(_moves(source, target))
    target.mkdir(parents=True, exist_ok=True)
    for entry, place in moves:
        entry.rename(place)


def _moves(source: Path, target: Path) -> Iterator[tuple[Path, Path]]:
    """What goes where; files that are there already, as a download that was broken off leaves them, stay."""
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise DataError(f"`{printable(target)}` is in the way", hint="move it elsewhere")
    for entry in sorted(source.iterdir()):
        place = target / entry.name
        if not os.path.lexists(place):
            yield entry, place
        elif entry.is_dir() and place.is_dir():
            yield from _moves(entry, place)
        elif not _is_same_file(entry, place):
            raise DataError(f"`{printable(place)}` is there already", hint="move it elsewhere; nothing is replaced")


def _is_same_file(entry: Path, place: Path) -> bool:
    are_files = entry.is_file() and place.is_file() and not place.is_symlink()
    return are_files and filecmp.cmp(entry, place, shallow=False)


def _done(work: Path) -> list[str]:
    """What earlier downloads have unpacked."""
    path = work / DONE_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except ValueError:
        return []
    return [str(key) for key in found] if isinstance(found, list) else []
