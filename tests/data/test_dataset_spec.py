"""The dataset YAML: every form it may take, and every complaint."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from onelook.data.dataset_spec import DatasetSpec, load_dataset_spec, split_images
from onelook.errors import DataError

NAMES = "names: [cat, dog]\n"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"")
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("images/train/b.jpg", "images/train/deep/a.PNG", "images/val/c.tif", "more/d.webp"):
        touch(tmp_path / name)
    return tmp_path


def spec_of(folder: Path, text: str) -> DatasetSpec:
    path = folder / "data.yaml"
    path.write_text(text, encoding="utf-8")
    return load_dataset_spec(path)


def names_in(folder: Path, spec: DatasetSpec, split: str) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in map(Path, split_images(spec, split)[0])]


def test_folders_are_searched_at_all_depths(folder: Path) -> None:
    touch(folder / "images/train/notes.txt")
    touch(folder / "images/train/.hidden.jpg")
    touch(folder / "images/train/.cache/e.jpg")
    spec = spec_of(folder, f"train: images/train\nval: images/val\n{NAMES}")
    assert (spec.root, spec.names, set(spec.splits)) == (folder, ("cat", "dog"), {"train", "val"})
    assert names_in(folder, spec, "train") == ["images/train/b.jpg", "images/train/deep/a.PNG"]
    assert names_in(folder, spec, "val") == ["images/val/c.tif"]


LISTS = {
    "dot slash counts from the list": (b"./b.jpg\n", "images/train", ["images/train/b.jpg"]),
    "plain counts from the root": (b"images/val/c.tif\n", "images/train", ["images/val/c.tif"]),
    "plain falls back to the list": (b"deep/a.PNG\n", "images/train", ["images/train/deep/a.PNG"]),
    "crlf, mark and blanks": (b"\xef\xbb\xbf./b.jpg\r\n\r\n  \r\n ./deep/a.PNG \r\n", "images/train",
                              ["images/train/b.jpg", "images/train/deep/a.PNG"]),
    "dots within are kept": (b"./deep/../b.jpg\n", "images/train", ["images/train/b.jpg"]),
    "missing files are kept for the scan": (b"./none.jpg\n", "images/train", ["images/train/none.jpg"]),
    "doubled lines count once": (b"./b.jpg\n./b.jpg\n", "images/train", ["images/train/b.jpg"]),
}  # fmt: skip


@pytest.mark.parametrize("case", LISTS)
def test_list_files(folder: Path, case: str) -> None:
    content, place, expected = LISTS[case]
    (folder / place / "list.txt").write_bytes(content)
    spec = spec_of(folder, f"train: {place}/list.txt\nval: images/val\n{NAMES}")
    assert names_in(folder, spec, "train") == expected


def test_absolute_lines_are_taken_as_they_are(folder: Path) -> None:
    (folder / "list.txt").write_text(f"{folder}/more/d.webp\n")
    spec = spec_of(folder, f"train: list.txt\nval: images/val\n{NAMES}")
    assert names_in(folder, spec, "train") == ["more/d.webp"]


def test_entries_may_mix_folders_and_lists(folder: Path) -> None:
    (folder / "list.txt").write_text("./images/val/c.tif\n./more/d.webp\n")
    spec = spec_of(folder, f"train: [more, list.txt, images/train]\nval: images/val\n{NAMES}")
    assert names_in(folder, spec, "train") == [
        "images/train/b.jpg", "images/train/deep/a.PNG", "images/val/c.tif", "more/d.webp",
    ]  # fmt: skip


def test_path_starts_at_the_yaml_then_at_the_current_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "configs").mkdir()
    text = f"path: images\ntrain: train\nval: val\n{NAMES}"
    monkeypatch.chdir(folder)
    assert spec_of(folder / "configs", text).root == folder / "images"
    (folder / "configs/images").mkdir()
    assert spec_of(folder / "configs", text).root == folder / "configs/images"
    assert spec_of(folder / "configs", text.replace("images", "../images", 1)).root == folder / "images"


def test_entry_with_a_needless_step_up_is_found(folder: Path) -> None:
    spec = spec_of(folder, f"train: ../images/train\nval: ../images/val\n{NAMES}")
    assert names_in(folder, spec, "val") == ["images/val/c.tif"]


def test_yaml_may_be_given_by_its_folder(folder: Path) -> None:
    text = f"train: images/train\nval: images/val\n{NAMES}"
    spec_of(folder, text)
    assert load_dataset_spec(folder).path == folder / "data.yaml"
    (folder / "data.yaml").rename(folder / "bees.yml")
    assert load_dataset_spec(folder).path == folder / "bees.yml"
    (folder / "wasps.yaml").write_text(text)
    with pytest.raises(DataError, match="2 other YAML files"):
        load_dataset_spec(folder)


NAME_FORMS = [
    ("names: [cat, dog]", ("cat", "dog")),
    ("names: {1: dog, 0: cat}", ("cat", "dog")),
    ("names: [cat, 7]\nnc: 2", ("cat", "7")),
    ("nc: 2", ("class0", "class1")),
    ("names: [{0: cat}, {1: dog}]", ("cat", "dog")),
    ("names: [{1: dog}, {0: cat}]", ("cat", "dog")),
    ("names: [{id: 1, name: dog}, {id: 0, name: cat, color: red}]", ("cat", "dog")),
    ("names: [{name: cat}, {name: dog}]", ("cat", "dog")),
]


@pytest.mark.parametrize(("text", "names"), NAME_FORMS)
def test_class_names(folder: Path, text: str, names: tuple[str, ...]) -> None:
    assert spec_of(folder, f"train: more\nval: more\n{text}\n").names == names


COMPLAINTS = [
    (f"train: more\n{NAMES}", "`val` is missing"),
    (f"val: more\ntrain:\n{NAMES}", "`train` is missing"),
    (f"train: more\nval: more\nname: [a]\n{NAMES}", "unknown key `name`; did you mean `names`"),
    (f"train: more\nvalid: more\n{NAMES}", "unknown key `valid`; did you mean `val`"),
    (f"train: more\nval: more\nzzzzzz: 1\n{NAMES}", "unknown key `zzzzzz`$"),
    (f"train: [more, 3]\nval: more\n{NAMES}", "`train` holds 3"),
    (f"train: []\nval: more\n{NAMES}", "empty list"),
    (f"train: https://x.org/a.zip\nval: more\n{NAMES}", "never downloaded"),
    (f"path: 3\ntrain: more\nval: more\n{NAMES}", "`path` is 3"),
    ("train: more\nval: more\n", "`names` is None"),
    ("train: more\nval: more\nnames: cat", "`names` is 'cat'"),
    ("train: more\nval: more\nnames: []", r"`names` is \[\]"),
    ("train: more\nval: more\nnames: [cat, no]", "1: False"),
    ("train: more\nval: more\nnames: [cat, ' ']", "not text: 1: ' '"),
    ('train: more\nval: more\nnames: [cat, "d\\e[31m"]', r"control characters:\n  - 1: 'd\\x1b\[31m'"),
    ('train: more\nval: more\nnames: ["a\\nb"]', r"control characters:\n  - 0: 'a\\nb'"),
    ('train: more\nval: more\nnames: ["a\\u202eb"]', r"control characters:\n  - 0: 'a\\u202eb'"),
    ("train: more\nval: more\nnames: [cat, dog, cat]", "`cat`: ids 0, 2"),
    ("train: more\nval: more\nnames: {0: cat, 2: dog}", "missing 1, beyond the end 2"),
    ("train: more\nval: more\nnames: [{0: cat}, {0: dog}]", "not text: 0: {0: 'cat'}"),
    ("train: more\nval: more\nnames: [{0: cat, 1: dog}, {x: 1}]", "not text: 0: "),
    ("train: more\nval: more\nnames: {'0': cat}", "whole numbers; found '0'"),
    (f"train: more\nval: more\nnc: 3\n{NAMES}", "`nc` is 3, but `names` has 2"),
    (f"train: more\nval: more\nnc: two\n{NAMES}", "`nc` is 'two'"),
    ("train: more\nval: more\nnc: 3000000000\n", "`nc` is 3000000000, more than the limit of 100000 classes"),
    ("train: !!python/object/apply:os.system [ls]", "tag"),
]


@pytest.mark.parametrize(("text", "complaint"), COMPLAINTS)
def test_wrong_yaml_is_refused_with_the_reason(folder: Path, text: str, complaint: str) -> None:
    with pytest.raises(DataError, match=f"(?m){complaint}") as error:
        spec_of(folder, text)
    assert "data.yaml" in str(error.value)


def test_archives_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="unpack"):
        load_dataset_spec(tmp_path / "coco.zip")


def test_keys_of_other_tools_are_ignored_with_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    spec_of(folder, f"train: more\nval: more\nroboflow: {{workspace: x}}\n{NAMES}")
    assert "`roboflow` is ignored" in caplog.text


def test_download_is_never_run(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    text = f"train: more\nval: VAL\n{NAMES}download: |\n  import os\n  os.mkdir('{folder}/proof')\n"
    spec_of(folder, text.replace("VAL", "more"))
    assert caplog.text.count("`download` is ignored") == 1
    caplog.clear()
    spec = spec_of(folder, text.replace("VAL", "absent"))
    assert not caplog.records
    with pytest.raises(DataError, match=r"absent.*does not exist\nhint: .*`download`.*never runs"):
        split_images(spec, "val")
    assert not (folder / "proof").exists()


def test_missing_entries_are_named_when_their_split_is_used(folder: Path) -> None:
    spec = spec_of(folder, f"train: absent\nval: more\n{NAMES}")
    assert len(split_images(spec, "val")[0]) == 1
    with pytest.raises(DataError, match=r"`train` names `.*absent`, which does not exist"):
        split_images(spec, "train")
    with pytest.raises(DataError, match="has no split `test`; it has train, val"):
        split_images(spec, "test")


def test_entry_that_is_neither_folder_nor_list_is_refused(folder: Path) -> None:
    touch(folder / "train.json")
    with pytest.raises(DataError, match=r"neither a folder nor a \.txt"):
        split_images(spec_of(folder, f"train: train.json\nval: more\n{NAMES}"), "train")


def test_empty_split_says_what_was_found(folder: Path) -> None:
    touch(folder / "none/a.heif")
    touch(folder / "none/sub/b.heif")
    touch(folder / "none/c.txt")
    with pytest.raises(DataError, match=r"searched `.*none` for \.bmp .* found 2 x \.heif, 1 x \.txt"):
        split_images(spec_of(folder, f"train: none\nval: more\n{NAMES}"), "train")


def test_binary_list_is_refused(folder: Path) -> None:
    (folder / "list.txt").write_bytes("./a.jpg\n".encode("utf-16"))
    with pytest.raises(DataError, match="plain text"):
        split_images(spec_of(folder, f"train: list.txt\nval: more\n{NAMES}"), "train")


def test_loops_pipes_and_broken_links_do_no_harm(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    train = folder / "images/train"
    (train / "loop").symlink_to(train)
    (train / "link.jpg").symlink_to(folder / "more/d.webp")
    (train / "broken.jpg").symlink_to(folder / "nowhere")
    (train / "self.jpg").symlink_to(train / "self.jpg")
    os.mkfifo(train / "pipe.png")
    with caplog.at_level(logging.WARNING):
        spec = spec_of(folder, f"train: images/train\nval: more\n{NAMES}")
        found = names_in(folder, spec, "train")
    assert found == ["images/train/b.jpg", "images/train/deep/a.PNG", "images/train/link.jpg"]
    assert "not regular files: 3, first" in caplog.text


def test_file_names_need_not_be_utf8(folder: Path) -> None:
    name = os.fsdecode(b"\xff\xe9.jpg")
    touch(folder / "odd" / name)
    (folder / "list.txt").write_bytes(b"./odd/\xff\xe9.jpg\n")
    for entry in ("odd", "list.txt"):
        spec = spec_of(folder, f"train: {entry}\nval: more\n{NAMES}")
        assert split_images(spec, "train")[0] == [str(folder / "odd" / name)]
