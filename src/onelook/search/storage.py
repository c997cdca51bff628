"""The storage of an Optuna study: a journal file, which needs neither server nor file locks, or an SQL database.

Needs the extra `tune`; import this module only when it is asked for.
"""

from __future__ import annotations

import os
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock

from onelook.errors import RunFolderError, SettingsError


def open_storage(location: str) -> BaseStorage:
    """The storage at `location`, created if it does not exist.

    Args:
        location: path of a journal file, or a URL such as `sqlite:///search.db` or `postgresql://user@host/name`.

    Raises:
        SettingsError: the database cannot be reached.
        RunFolderError: the file cannot be read or written, or is no journal.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return _database(location) if "://" in location else _journal(Path(location))


def _database(url: str) -> BaseStorage:
    try:
        return RDBStorage(url)
    except Exception as problem:  # each kind of database has errors of its own
        raise SettingsError(
            f"setting `evolve_storage`: the database `{_without_password(url)}` cannot be used: "
            f"{type(problem).__name__}: {' '.join(str(problem).split())[:300]}",
            hint="check the URL, and that the driver of the database is installed; a plain path needs neither",
        ) from problem


def _journal(path: Path) -> BaseStorage:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Symbolic links are the safest lock on network drives, but Windows asks for a privilege to make one.
        lock = JournalFileOpenLock(str(path)) if os.name == "nt" else JournalFileSymlinkLock(str(path))
        backend = JournalFileBackend(str(path), lock_obj=lock)
        lock.acquire()
        try:
            _drop_torn_line(path)
        finally:
            lock.release()
        return JournalStorage(backend)
    except OSError as problem:
        raise RunFolderError(f"storage `{path}` cannot be used: {problem.strerror or problem}") from problem
    except (ValueError, KeyError, TypeError) as problem:
        raise RunFolderError(
            f"file `{path}` is not a journal of Optuna, or is damaged: {problem}",
            hint="name another file with `--evolve-storage`",
        ) from problem


def _drop_torn_line(path: Path) -> None:
    """Cut off an incomplete last line, which a full disk left: the next one would be appended to it."""
    data = path.read_bytes()
    end = data.rfind(b"\n") + 1
    if end < len(data):
        os.truncate(path, end)


def _without_password(url: str) -> str:
    """`url` with its password as `***`.

    >>> _without_password("postgresql://bee:honey@hive/db")
    'postgresql://bee:***@hive/db'
    """
    scheme, _, rest = url.partition("://")
    user, at, host = rest.rpartition("@")
    return f"{scheme}://{user.split(':')[0]}:***@{host}" if at and ":" in user else url
