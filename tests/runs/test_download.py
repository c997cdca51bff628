"""`onelook download`: what a YAML may make it fetch, and where that goes."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from colour_detector import write_squares
from https_server import serving_files, trusting
from option_runs import covers

import onelook
from onelook.cli.main import main
from onelook.data.download_entries import archives_of
from onelook.data.sets import PUBLIC_SETS, description_of
from onelook.errors import DataError, SettingsError
from onelook.files.lock import locked
from onelook.files.yaml import dump_yaml, load_yaml
from onelook.recipes.check import check
from onelook.recipes.download import LOCK_NAME, WORK_FOLDER, DownloadResult, download


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Images in one archive, labels in another."""
    folder = write_squares(tmp_path_factory.mktemp("squares") / "data").parent
    made = {}
    for kind in ("images", "labels"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            for path in sorted((folder / kind).rglob("*.*")):
                file.write(path, path.relative_to(folder).as_posix())
        made[f"/{kind}.zip"] = buffer.getvalue()
    return made


@pytest.fixture
def server(archives: dict[str, bytes]) -> Iterator[tuple[str, list[str]]]:
    with serving_files(archives) as both:
        yield both


def entry(address: str, name: str, archives: dict[str, bytes], **changes: Any) -> dict[str, Any]:
    content = archives[name]
    told = {"url": f"{address}{name}", "size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
    return {key: value for key, value in {**told, **changes}.items() if value is not None}


def describe(folder: Path, download: object, **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    content = {"path": ".", "train": "images/train", "val": "images/val", "names": ["green", "blue"], **more}
    (folder / "squares.yaml").write_text(dump_yaml({**content, "download": download}))
    return folder / "squares.yaml"


def fetched(yaml: Path | str, **settings: Any) -> DownloadResult:
    return download({"data": str(yaml), **settings}, transport=trusting())


@covers("download", "data", "keep")
def test_a_dataset_is_fetched_once_and_ready_to_train_on(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    address, asked = server
    yaml = describe(tmp_path / "set", [entry(address, name, archives) for name in archives])
    result = fetched(yaml)
    assert (result.data, result.root, result.files) == (yaml, tmp_path / "set", 48)
    assert check({"data": yaml, "near": -1}).diagnosis.findings == ()
    assert asked == ["/images.zip", "/labels.zip"]
    assert fetched(yaml).fetched == () and len(asked) == 2
    assert not list((tmp_path / "set").rglob("*.zip"))

    kept = describe(tmp_path / "kept", [entry(address, "/images.zip", archives, to="below")])
    fetched(kept, keep=True)
    assert len(list((tmp_path / "kept").rglob("*.zip"))) == 1
    assert (tmp_path / "kept/below/images/train/00.png").is_file()


@covers("download", "no_hash")
@pytest.mark.parametrize("missing", ["sha256", "size"])
def test_a_file_of_unknown_content_is_fetched_only_if_that_is_typed(
    missing: str, server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    address, asked = server
    yaml = describe(tmp_path / "set", entry(address, "/images.zip", archives, **{missing: None}))
    with pytest.raises(SettingsError, match="anything could arrive"):
        fetched(yaml)
    assert asked == []
    assert fetched(yaml, no_hash=True).files == 24
    (tmp_path / "settings.yaml").write_text("no_hash: yes\n")
    with pytest.raises(SettingsError, match="no file may do"):
        download({"data": str(yaml)}, file=tmp_path / "settings.yaml", transport=trusting())


@covers("download", "output")
def test_a_folder_that_another_download_fills_is_left_alone(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    address, asked = server
    yaml = describe(tmp_path / "set", [entry(address, "/images.zip", archives)])
    work = tmp_path / "set" / WORK_FOLDER
    work.mkdir()
    lock = locked(work / LOCK_NAME)
    with pytest.raises(DataError, match="another download is filling folder"):
        fetched(yaml)
    lock.release()
    assert asked == [] and fetched(yaml).files == 24


def test_a_public_set_goes_to_a_folder_of_its_own(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="names nothing to fetch"):
        fetched("voc2007", output=tmp_path / "sets")
    assert (tmp_path / "sets/voc2007/voc2007.yaml").read_bytes() == description_of("voc2007").read_bytes()


def test_output_is_refused_where_a_yaml_says_where_data_go(tmp_path: Path) -> None:
    yaml = describe(tmp_path / "set", [])
    with pytest.raises(SettingsError, match="`output` has no effect"):
        fetched(yaml, output=tmp_path / "elsewhere")


SCRIPTS: dict[str, object] = {
    "a script": "import os; os.system('touch evil')",
    "a shell script": "bash data/scripts/get.sh",
    "an address": "https://a.example/x.zip",
    "no address": [{"size": 1, "sha256": "0" * 64}],
    "a script beside": [{"url": "https://a.example/x.zip", "run": "x.sh"}],
    "a size that is none": [{"url": "https://a.example/x.zip", "size": "big", "sha256": "0" * 64}],
    "a hash that is none": [{"url": "https://a.example/x.zip", "size": 1, "sha256": "md5"}],
    "a place outside": [{"url": "https://a.example/x.zip", "size": 1, "sha256": "0" * 64, "to": "../x"}],
    "an absolute place": [{"url": "https://a.example/x.zip", "size": 1, "sha256": "0" * 64, "to": "/etc"}],
    "text in a list": ["https://a.example/x.zip"],
}


@pytest.mark.parametrize("case", SCRIPTS)
def test_what_is_no_plain_archive_is_refused_before_anything_is_done(case: str, tmp_path: Path) -> None:
    yaml = describe(tmp_path / "set", SCRIPTS[case])
    with pytest.raises(SettingsError):
        fetched(yaml)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["squares.yaml"]


@pytest.mark.parametrize("path", ["..", "/etc", "../elsewhere", "link/below"])
def test_data_go_nowhere_but_below_the_yaml(path: str, tmp_path: Path) -> None:
    told = {"url": "https://a.example/x.zip", "size": 1, "sha256": "0" * 64}
    yaml = describe(tmp_path / "set", [told], path=path)
    (tmp_path / "set" / "link").symlink_to(tmp_path)
    with pytest.raises(SettingsError, match="outside the folder of the file"):
        fetched(yaml)


def test_another_archive_than_was_promised_leaves_no_data(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    yaml = describe(tmp_path / "set", [entry(server[0], "/images.zip", archives, sha256="0" * 64)])
    with pytest.raises(DataError, match="it is another file"):
        fetched(yaml)
    assert not (tmp_path / "set/images").exists()


def test_files_that_are_there_are_not_replaced(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    yaml = describe(tmp_path / "set", [entry(server[0], "/labels.zip", archives)])
    (tmp_path / "set/labels/train").mkdir(parents=True)
    (tmp_path / "set/labels/train/00.txt").write_text("mine")
    with pytest.raises(DataError, match=r"00\.txt` already exists"):
        fetched(yaml)
    assert (tmp_path / "set/labels/train/00.txt").read_text() == "mine"


def test_nothing_is_moved_if_a_single_file_is_in_the_way(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    yaml = describe(tmp_path / "set", [entry(server[0], "/images.zip", archives)])
    (tmp_path / "set/images/val").mkdir(parents=True)
    (tmp_path / "set/images/val/00.png").write_text("mine")
    with pytest.raises(DataError, match=r"00\.png` already exists"):
        fetched(yaml)
    assert not (tmp_path / "set/images/train").exists()
    (tmp_path / "set/images/val/00.png").unlink()
    assert fetched(yaml).files == 24


def test_files_that_a_broken_off_download_has_put_there_are_not_in_the_way(
    server: tuple[str, list[str]], archives: dict[str, bytes], tmp_path: Path
) -> None:
    yaml = describe(tmp_path / "set", [entry(server[0], "/images.zip", archives)])
    with zipfile.ZipFile(io.BytesIO(archives["/images.zip"])) as archive:
        archive.extract("images/val/00.png", tmp_path / "set")
    assert fetched(yaml).files == 24
    assert len(list((tmp_path / "set/images").rglob("*.png"))) == 24


def test_a_kept_archive_is_not_taken_for_another_one_of_the_same_name(
    archives: dict[str, bytes], tmp_path: Path
) -> None:
    files = {"/data.zip": archives["/images.zip"]}
    with serving_files(files) as (address, _):
        fetched(describe(tmp_path / "set", [entry(address, "/data.zip", files, to="old")]), keep=True)
        files["/data.zip"] = archives["/labels.zip"]
        fetched(describe(tmp_path / "set", [entry(address, "/data.zip", files, to="new")]), keep=True)
    assert (tmp_path / "set/new/labels/val/00.txt").is_file() and not (tmp_path / "set/new/images").exists()


@pytest.mark.parametrize("name", PUBLIC_SETS)
def test_public_sets_name_plain_archives_or_none(name: str) -> None:
    content = load_yaml(description_of(name))
    if "download" in content:
        archives = archives_of(content, Path(name), no_hash=False)
        assert all(archive.url.startswith("https://") and archive.size for archive, _ in archives)


def test_a_file_of_settings_names_what_to_fetch_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    yaml = describe(tmp_path / "set", [])
    (tmp_path / "settings.yaml").write_text(f"data: {yaml}\n")
    assert main(["download", "--settings", str(tmp_path / "settings.yaml")]) == 64
    assert "names nothing to fetch" in capsys.readouterr().err


def test_weights_are_not_taken_for_a_dataset() -> None:
    with pytest.raises(SettingsError, match=r"`yolox-nano` names weights, not a dataset\nhint: .*`onelook.load"):
        onelook.download("yolox-nano")
