"""Fetches a dataset: the archives that its YAML names, checked and unpacked beside it. Nothing of it is ever run."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from onelook.data.download_entries import archives_of, download_root
from onelook.data.parallel_map import progress_log
from onelook.data.sets import PUBLIC_SETS, description_of
from onelook.errors import DataError, SettingsError
from onelook.files.archives import merge_folder, unpack_zip
from onelook.files.atomic import write_bytes_atomic, write_text_atomic
from onelook.files.bounded import printable
from onelook.files.lock import locked
from onelook.files.web import Transport, WebFile, fetch, shown_address
from onelook.files.yaml import load_yaml
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.processes.stop_signal import StopSignal
from onelook.settings.build import build_settings
from onelook.settings.download import DownloadSettings

logger = logging.getLogger(__name__)

WORK_FOLDER = ".onelook-download"
DONE_NAME = "done.json"
LOCK_NAME = "lock"
MAX_NAME = 100


@dataclass(frozen=True)
class DownloadResult:
    """What a download gave.

    Attributes:
        data: the YAML, to train with.
        fetched: addresses that were fetched now; others had been.
        files: number of files unpacked by this call.
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
        transport: how to reach the web; only tests have another.

    Raises:
        SettingsError: there is nothing to fetch, no hash is given, or the data would go outside the folder of the YAML.
        DataError: another download is filling the folder; an archive cannot be fetched, has another size or SHA-256, or
            holds what must not be unpacked.
        StopRequested: Ctrl-C or SIGTERM; started again, it resumes where it ended.
    """
    with StopSignal() as stop:
        settings = build_settings(DownloadSettings, given, file=file)
        yaml_path = _described(settings)
        content = load_yaml(yaml_path, error=DataError)
        archives = archives_of(content, yaml_path, no_hash=settings.no_hash)
        root = download_root(content.get("path"), yaml_path)
        work = root / WORK_FOLDER
        work.mkdir(parents=True, exist_ok=True)
        with _claimed(work):
            done = _done(work)
            fetched, files = [], 0
            for archive, to in archives:
                key = json.dumps([archive.url, archive.sha256, to])
                if key in done:
                    logger.info("`%s` is here already", shown_address(archive.url))
                    continue
                path = work / _name_of(archive, key)
                if not path.is_file():
                    logger.info("fetching `%s`", shown_address(archive.url))
                    told = progress_log(f"bytes of `{shown_address(archive.url)}`")
                    digest = fetch(archive, path, transport=transport, stop_requested=stop, progress=told)
                    logger.info("its SHA-256 is %s", digest)
                files += _unpack(path, root / to, work, stop)
                done.append(key)
                write_text_atomic(work / DONE_NAME, json.dumps(done) + "\n")
                fetched.append(archive.url)
                if not settings.keep:
                    path.unlink()
    return DownloadResult(yaml_path, root, tuple(fetched), files)


@contextmanager
def _claimed(work: Path) -> Iterator[None]:
    """Keep other downloads out of the work folder: archives and what is unpacked of them have fixed names there."""
    try:
        lock = locked(work / LOCK_NAME)
    except TimeoutError as problem:
        raise DataError(
            f"another download is filling folder `{printable(work.parent)}`", hint="wait for it, or stop it"
        ) from problem
    try:
        yield
    finally:
        lock.release()


def _name_of(archive: WebFile, key: str) -> str:
    """A name of its own for each archive: one that was kept is not mistaken for another of the same name."""
    name = re.sub(r"[^0-9A-Za-z._-]+", "_", archive.name)[-MAX_NAME:]
    return f"{hashlib.sha256(key.encode()).hexdigest()[:16]}-{name}"


def _described(settings: DownloadSettings) -> Path:
    """The YAML; that of a public dataset is copied to where its data go."""
    if settings.data not in PUBLIC_SETS:
        if "output" in settings.model_fields_set:
            raise SettingsError(
                f"setting `output` has no effect with `{printable(settings.data)}`: data go to where their YAML is",
                hint="leave out `--output`, or put the YAML where the data should go",
            )
        _refuse_unknown_name(settings.data)
        return Path(os.path.abspath(settings.data))  # noqa: PTH100
    folder = Path(os.path.abspath(settings.output)) / settings.data  # noqa: PTH100
    path = folder / f"{settings.data}.yaml"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes_atomic(path, description_of(settings.data).read_bytes())
    return path


def _refuse_unknown_name(data: str) -> None:
    """Refuse a name that is neither a file nor looks like a path."""
    path = Path(data)
    if data in PUBLISHED_WEIGHTS and not path.exists():
        raise SettingsError(
            f"`{data}` names weights, not a dataset",
            hint=f"`onelook download {data}` or `onelook.load({data!r}, download=True)` fetches them",
        )
    if not data or not (path.exists() or len(path.parts) > 1 or path.suffix.lower() in (".yaml", ".yml")):
        raise SettingsError(
            f"`{printable(data)}` is neither a dataset YAML nor known by name",
            hint=f"known datasets are {', '.join(PUBLIC_SETS)}; known weights are {', '.join(PUBLISHED_WEIGHTS)}",
        )


def _unpack(path: Path, target: Path, work: Path, stop: StopSignal) -> int:
    """Unpack an archive into `target`, where nothing is replaced; how many files there were."""
    fresh = work / "unpacked"
    shutil.rmtree(fresh, ignore_errors=True)
    told = progress_log(f"bytes unpacked of `{path.name}`")
    files = unpack_zip(path, fresh, stop_requested=stop, progress=told)
    merge_folder(fresh, target)
    shutil.rmtree(fresh, ignore_errors=True)
    return files


def _done(work: Path) -> list[str]:
    """What earlier downloads have unpacked."""
    path = work / DONE_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []
    except ValueError:
        return []
    return [str(key) for key in found] if isinstance(found, list) else []
