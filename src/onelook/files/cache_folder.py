"""Where caches go: outside of the dataset and of the run folders."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path

from onelook.errors import DataError
from onelook.files.bounded import printable

logger = logging.getLogger(__name__)


def default_cache_folder() -> Path:
    """Where caches go: `$ONELOOK_CACHE`, `$XDG_CACHE_HOME/onelook`, `~/.cache/onelook`, or a private temporary folder.

    The first that exists or can be made, and can be written; the folder is made.

    Raises:
        DataError: none can.
    """
    chosen = os.environ.get("ONELOOK_CACHE")
    if chosen:
        if _is_writable(Path(chosen)):
            return Path(chosen).absolute()
        logger.warning("ONELOOK_CACHE is `%s`, which cannot be written; another folder is used", printable(chosen))
    home = os.path.expanduser("~")  # noqa: PTH111 - Path.home() fails for users without an entry
    xdg = os.environ.get("XDG_CACHE_HOME") or (f"{home}/.cache" if home != "~" else "")
    if xdg and _is_writable(Path(xdg, "onelook")):
        return Path(xdg, "onelook").absolute()
    shared = Path(tempfile.gettempdir(), f"onelook-{_user()}")
    if _is_writable(shared) and shared.stat().st_uid == _user() and not shared.is_symlink():
        return shared
    raise DataError("no cache folder can be written", hint="set ONELOOK_CACHE to a folder of yours")


def _is_writable(folder: Path) -> bool:
    """Whether `folder` is there, or was made, and we may write it."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK | os.X_OK)


def _user() -> int:
    return os.getuid() if hasattr(os, "getuid") else 0
