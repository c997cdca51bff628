"""Settings of a run of two epochs for trackers to follow, with a cache of its own and no way out of the machine."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from option_runs import QUICK
from tracker_runs import bits_of

from onelook.recipes.train import train

RUN = {**QUICK, "epochs": 2, "batch_size": 10}


@pytest.fixture(scope="session")
def untracked_bits(tiny_data: Path, tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """What `tiny_run` learns if nothing follows it."""
    place = {"data": tiny_data, "cfg": str(tiny_model), "project": tmp_path_factory.mktemp("untracked")}
    return bits_of(train({**RUN, **place}))


@pytest.fixture
def tiny_run(
    tiny_data: Path, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[dict[str, Any]]:
    """Settings of a run of two epochs of 2 batches; connections to other machines fail the test."""
    monkeypatch.setenv("ONELOOK_CACHE", str(tmp_path / "cache"))
    tried = []

    connect = socket.socket.connect

    def refuse(*address: Any, **_: Any) -> NoReturn:
        tried.append(address)
        raise OSError(f"a connection to {address}")

    def connect_within(of: socket.socket, address: Any) -> None:
        if of.family != getattr(socket, "AF_UNIX", None):  # sockets that are files: packages talk to parts of their own
            refuse(address)
        connect(of, address)

    monkeypatch.setattr(socket.socket, "connect", connect_within)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield {**RUN, "data": tiny_data, "cfg": str(tiny_model), "project": tmp_path / "runs"}
    assert not tried, "nothing may be contacted"
