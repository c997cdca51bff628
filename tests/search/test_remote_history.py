"""The bucket: searches on several machines share their trials through any storage that fsspec knows."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import fsspec
import pytest
from search_landscape import START, Hill, plan

from onelook.errors import SettingsError
from onelook.search.history import Row, read_history, write_history
from onelook.search.remote_history import Bucket
from onelook.search.search import GeneticSearch


def row(generation: int, seed: int = 0, fitness: float = 0.5) -> Row:
    return Row(generation, seed, START, (0.1,) * 7, fitness, 4)


@pytest.fixture(params=["path", "file", "memory"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A bucket that does not exist yet."""
    names = {
        "path": str(tmp_path / "shared" / "bees"),
        "file": f"file://{tmp_path}/shared/bees",
        "memory": f"memory://{tmp_path.name}/bees",
    }
    return names[request.param]


def bucket(place: str) -> Bucket:
    return Bucket(place, defaults=START)


def test_bucket_that_is_not_there_holds_nothing_and_is_made(place: str, caplog: pytest.LogCaptureFixture) -> None:
    assert bucket(place).pull() == []
    bucket(place).push([row(0)])
    assert bucket(place).pull() == [row(0)]
    with fsspec.open(f"{place}/evolve.csv") as file:
        assert file.read() == write_history([row(0)]).encode()
    assert not caplog.records


def test_bucket_holds_the_union_of_what_searches_push(place: str) -> None:
    first, second = bucket(place), bucket(place)
    first.push([row(0), row(1)])
    second.push([row(0, seed=3)])
    first.push([row(0), row(1), row(2)])
    assert [found.key for found in second.pull()] == [(0, 0), (0, 1), (0, 2), (3, 0)]


def test_searches_learn_from_each_other(place: str) -> None:
    searches = [GeneticSearch(plan(4, seed=seed)) for seed in (0, 1)]
    for _ in range(4):
        for search in searches:
            search.learn(bucket(place).pull())
            search.step(Hill())
            bucket(place).push(search.rows())
    assert [found.key for found in bucket(place).pull()] == [(seed, number) for seed in (0, 1) for number in range(4)]
    alone = GeneticSearch(plan(4, seed=1))
    while alone.step(Hill()) is not None:
        pass
    assert alone.rows() != [found for found in searches[1].rows() if found.seed == 1]


def test_file_of_somebody_else_is_never_written_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "evolve.csv").write_text("name,weight\nqueen,0.2\n")
    with caplog.at_level(logging.WARNING):
        assert bucket(str(tmp_path)).pull() == []
        bucket(str(tmp_path)).push([row(0)])
    assert (tmp_path / "evolve.csv").read_text() == "name,weight\nqueen,0.2\n"
    read, written = (record.message for record in caplog.records)
    assert read.startswith(f"bucket: `{tmp_path}/evolve.csv` was not read: RunFolderError: ")
    assert read.endswith("has no column `metrics/precision`; continuing without it") and "was not written" in written


def test_search_continues_with_a_warning_when_the_bucket_cannot_be_reached(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    away = bucket(str(tmp_path / "file" / "bees"))
    with caplog.at_level(logging.WARNING):
        away.push([row(0)])
    assert "was not written" in caplog.text and "the next trial tries again" in caplog.text


def test_name_that_does_not_say_where_is_refused() -> None:
    with pytest.raises(SettingsError, match="`bees`, which does not say where it is") as caught:
        bucket("bees")
    assert "`gs://bees` for Google" in str(caught.value)


@pytest.mark.parametrize(
    ("place", "package"), [("gs://bees", "gcsfs"), ("s3://bees/deep", "s3fs"), ("az://bees", "adlfs")]
)
def test_missing_driver_is_named_with_the_command_that_installs_it(
    place: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SettingsError, match=f"`{place.split(':')[0]}://` cannot be opened") as caught:
        bucket(place)
    assert f"pip install {package}" in str(caught.value)


def test_unknown_kind_of_storage_is_refused() -> None:
    with pytest.raises(SettingsError, match=r"`beehive://x`.*not known"):
        bucket("beehive://x")


def test_missing_fsspec_is_named_with_the_extra_that_brings_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(SettingsError, match="needs the package `fsspec`") as caught:
        bucket(str(tmp_path))
    assert 'pip install "onelook[data]"' in str(caught.value)


def test_what_is_pushed_can_be_read_like_any_history(tmp_path: Path) -> None:
    bucket(str(tmp_path)).push([row(0), row(1, fitness=1 / 3)])
    text = (tmp_path / "evolve.csv").read_bytes()
    assert read_history(text, "", defaults=START)[1].fitness == 1 / 3
