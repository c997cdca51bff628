"""The bucket: a folder in any storage of fsspec, through which searches on many machines share their trials."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from onelook.errors import SettingsError
from onelook.search.history import Row, merged, read_history, write_history

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

logger = logging.getLogger(__name__)

FILE = "evolve.csv"
MAX_BYTES = 1 << 26
# The packages that fsspec needs, by the scheme of the URL.
DRIVERS = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs", "hf": "huggingface_hub"}


class Bucket:
    """The rows of many searches in one remote `evolve.csv`.

    Each search keeps its own rows and writes their union with the file after every trial. So if two write at the same
    time and one union is lost, the next one restores it.

    Args:
        url: URL, or path of a folder.
        defaults: see `read_history`.

    Raises:
        SettingsError: fsspec, or the package for this kind of storage, is not installed; or the URL is invalid.
    """

    def __init__(self, url: str, *, defaults: Mapping[str, float]) -> None:
        self._system, folder = _file_system(url)
        self._folder = folder.rstrip("/")
        self._path = f"{self._folder}/{FILE}"
        self._url = f"{url.rstrip('/')}/{FILE}"
        self._defaults = dict(defaults)

    def pull(self) -> list[Row]:
        """The rows in the bucket; none, with a warning, if it cannot be reached or holds something else."""
        try:
            return self._read()
        except Exception as problem:  # noqa: BLE001 - each kind of storage has errors of its own
            logger.warning("bucket: `%s` was not read: %s; continuing without it", self._url, _first_line(problem))
            return []

    def push(self, rows: Sequence[Row]) -> None:
        """Write the union of `rows` and those in the bucket; a warning if that fails: the next push may succeed."""
        try:
            union = write_history(merged(rows, self._read()))
            self._system.makedirs(self._folder, exist_ok=True)
            self._system.pipe_file(self._path, union.encode("utf-8"))
        except Exception as problem:  # noqa: BLE001 - each kind of storage has errors of its own
            logger.warning(
                "bucket: `%s` was not written: %s; the next trial tries again", self._url, _first_line(problem)
            )

    def _read(self) -> list[Row]:
        """The rows in the bucket; none without a file. Raises for a foreign file, so that none is overwritten."""
        self._system.invalidate_cache()
        if not self._system.exists(self._path):
            return []
        size = int(self._system.size(self._path) or 0)
        if size > MAX_BYTES:
            raise ValueError(f"it has {size} bytes, more than the limit of {MAX_BYTES}")
        return read_history(self._system.cat_file(self._path), self._url, defaults=self._defaults)


def _file_system(url: str) -> tuple[AbstractFileSystem, str]:
    scheme = url.partition("://")[0] if "://" in url else "file"
    if scheme == "file" and "://" not in url and not _looks_like_a_path(url):
        raise SettingsError(
            f"setting `bucket` is `{url}`, which does not say where it is",
            hint=f"write `gs://{url}` for Google, `s3://{url}` for Amazon, or `./{url}` for a folder here",
        )
    try:
        from fsspec.core import url_to_fs
    except ImportError as problem:
        raise SettingsError(
            "setting `bucket` needs the package `fsspec`, which is not installed", hint='pip install "onelook[data]"'
        ) from problem
    try:
        system, folder = url_to_fs(url)
    except ImportError as problem:
        package = DRIVERS.get(scheme, "")
        hint = f"pip install {package}" if package else "see the documentation of fsspec for the package it needs"
        raise SettingsError(f"setting `bucket`: `{scheme}://` cannot be opened: {problem}", hint=hint) from problem
    except ValueError as problem:
        raise SettingsError(
            f"setting `bucket` is `{url}`: {problem}", hint="s3://NAME, gs://NAME, or a path"
        ) from problem
    return system, str(folder)


def _looks_like_a_path(url: str) -> bool:
    return url.startswith((".", "~")) or "/" in url or "\\" in url or Path(url).is_dir()


def _first_line(problem: Exception) -> str:
    return f"{type(problem).__name__}: {(str(problem).splitlines() or [''])[0][:300]}"
