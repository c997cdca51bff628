"""Pascal VOC files: what happens to every object, and of XML that is not what it should be."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_dataset import tree_digest
from voc_dataset import BOX, SIZE, document, make_voc, thing

from onelook.data.dataset_spec import load_dataset_spec
from onelook.data.formats.annotated import annotated_rows, path_below
from onelook.data.formats.label_rows import LabelRows
from onelook.data.formats.plain_xml import MAX_DEPTH
from onelook.data.formats.row_rules import RefusedRow
from onelook.data.formats.voc_file import parse_voc
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError

CLASSES = {"cat": 0, "dog": 1}
IMAGE = (16, 20)


def rows_of(text: str | bytes, *, keep_difficult: bool = False, size_hw: tuple[int, int] = IMAGE) -> LabelRows:
    data = text if isinstance(text, bytes) else text.encode()
    return annotated_rows(data, size_hw, CLASSES, partial(parse_voc, keep_difficult=keep_difficult))


def corners_px(rows: LabelRows) -> list[list[float]]:
    boxes = rows.boxes.astype(float) * [20, 16, 20, 16]
    return np.round(np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2], 1), 4).tolist()


USED = [
    ("box", document(thing()), [2, 3, 12, 11]),
    ("fractions", document(thing(corners=(2.5, 3.25, 12.125, 11))), [2.5, 3.25, 12.125, 11]),
    ("spaces and lines", document(thing(" cat\n", ("\n 2 ", "3\t", "12", " 1.1e1 "))), [2, 3, 12, 11]),
    ("over the edge", document(thing(corners=(10, 3, 24, 11))), [10, 3, 20, 11]),
    ("not difficult", document(thing(more="<difficult>0</difficult>")), [2, 3, 12, 11]),
    ("parts of it have boxes, too", document(thing(more="<part><name>dog</name></part>")), [2, 3, 12, 11]),
    ("no size", document(thing(), size=""), [2, 3, 12, 11]),
    ("size of nothing", document(thing(), size="<size><width>0</width><height>0</height></size>"), [2, 3, 12, 11]),
    ("size in words", document(thing(), size="<size><width>a</width><height>16</height></size>"), [2, 3, 12, 11]),
    ("twice as large", document(thing(), size="<size><width>40</width><height>32</height></size>"), [1, 1.5, 6, 5.5]),
    (
        "other encoding",
        f"<?xml version='1.0' encoding='latin-1'?>{document(thing())}".encode("latin-1"),
        [2, 3, 12, 11],
    ),
    ("UTF-16", document(thing()).encode("utf-16"), [2, 3, 12, 11]),
    ("mark and comment", b"\xef\xbb\xbf<!-- by hand -->" + document(thing()).encode(), [2, 3, 12, 11]),
    ("escaped", document(thing("&#99;at")), [2, 3, 12, 11]),
]


@pytest.mark.parametrize(("text", "expected"), [case[1:] for case in USED], ids=[case[0] for case in USED])
def test_object_becomes_a_box(text: str | bytes, expected: list[float]) -> None:
    rows = rows_of(text)
    assert (corners_px(rows), rows.class_ids.tolist(), rows.rows_read) == ([expected], [0], 1)


LEFT_OUT = [
    (thing(more="<difficult>1</difficult>"), "ignored", "marked as difficult"),
    (thing(corners=(0, 0, 4, 4)), "deduplicated", "a duplicate of an object above"),
    ("<object/>", "refused", "no `name`"),
    ("<object><name> </name></object>", "refused", "no `name`"),
    ("<object><name>cat</name></object>", "refused", "no `bndbox` with `xmin`"),
    (thing(corners=(1, 2, 3)), "refused", "no `bndbox` with `ymax`"),
    (thing(corners=(1, 2, "three", 4)), "refused", "`xmax` is `three`, not a number"),
    (thing(corners=(1, 2, "nan", 4)), "refused", "`xmax` is `nan`, not a number"),
    (thing(corners=(1, 2, "1_0", 4)), "refused", "`xmax` is `1_0`, not a number"),
    (thing(corners=(1, 2, "1e400", 4)), "refused", "not finite"),
    (thing(corners=(1, 2, "", 4)), "refused", "`xmax` is ``, not a number"),
    (thing(corners=(12, 3, 2, 11)), "refused", "a width or height is negative"),
    (thing(corners=(2, 3, 2, 11)), "refused", "no area"),
    (thing(corners=(30, 3, 40, 11)), "refused", "the centre is outside the image"),
    (thing(corners=(0.1, 0.2, 0.4, 0.9)), "refused", "are these fractions of the image?"),
    (thing(more="<name>dog</name>"), "refused", "`name` is given twice"),
    (thing(more="<bndbox><xmin>1</xmin></bndbox>"), "refused", "`xmin` is given twice"),
    (thing("cow"), "unknown class", "class `cow` is not among the 2 classes"),
]


@pytest.mark.parametrize(("text", "outcome", "reason"), LEFT_OUT, ids=[case[2] for case in LEFT_OUT])
def test_object_that_is_left_out_is_told_with_place_and_reason(text: str, outcome: str, reason: str) -> None:
    rows = rows_of(document(thing(corners=(0, 0, 4, 4)), text))
    (problem,) = rows.problems
    assert (problem.place, problem.outcome, rows.rows_read, len(rows)) == ("object 2", outcome, 2, 1)
    assert reason in problem.reason


BOMB = '<!DOCTYPE a [<!ENTITY b "cat"><!ENTITY c "&b;&b;&b;&b;">]>' + document(thing("&c;"))
OUTSIDE = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + document(thing("&b;"))
NO_ANNOTATION = [
    ("empty", b"", "not well-formed XML: no element found in line 1"),
    ("text", b"2 0.5 0.5 0.1 0.1", "not well-formed XML: syntax error in line 1"),
    ("cut", document(thing()).encode()[:150], "not well-formed XML: unclosed token in line 1"),
    ("other root", b"<html><object/></html>", "the XML is `html`, not an `annotation`"),
    ("entities", BOMB.encode(), "the XML has a document type, `a`"),
    ("external entity", OUTSIDE.encode(), "the XML has a document type, `a`"),
    (
        "wide, unknown",
        b"<?xml version='1.0' encoding='utf-99'?><annotation/>",
        "encoding `utf-99`, which cannot be read",
    ),
    ("external document type", b"<!DOCTYPE annotation SYSTEM 'http://a/b.dtd'><annotation/>", "has a document type"),
    ("undeclared entity", document(thing("&b;")).encode(), "not well-formed XML: undefined entity"),
    ("deep", (b"<annotation>" * (MAX_DEPTH + 1)), f"nested deeper than {MAX_DEPTH}"),
    ("many", b"<annotation>" + b"<a/>" * 200_000 + b"</annotation>", "more than 200000 elements"),
    ("unknown encoding", b"<?xml version='1.0' encoding='klingon'?><annotation/>", "unknown encoding"),
    ("bytes", b"<annotation>\xff</annotation>", "not well-formed XML: not well-formed (invalid token)"),
    ("attribute twice", b"<annotation a='1' a='2'/>", "duplicate attribute"),
    ("two roots", b"<annotation/><annotation/>", "junk after document element"),
]


@pytest.mark.parametrize(("data", "reason"), [case[1:] for case in NO_ANNOTATION], ids=[c[0] for c in NO_ANNOTATION])
def test_file_that_is_no_annotation_counts_as_one_refused_row(data: bytes, reason: str) -> None:
    rows = rows_of(data)
    assert (rows.rows_read, len(rows), rows.problems[0].outcome) == (1, 0, "refused")
    assert reason in rows.problems[0].reason


def test_difficult_objects_are_used_if_the_yaml_says_so(tmp_path: Path) -> None:
    files = {"a": document(thing(), thing(more="<difficult>1</difficult>", corners=(1, 1, 5, 5)))}
    ignored = scan_split(make_voc(tmp_path, files), "train", cache_folder=tmp_path / "cache")
    used = scan_split(
        make_voc(tmp_path, files, yaml="names: [cat]\ndifficult: use\n"), "train", cache_folder=tmp_path / "cache"
    )
    assert (ignored.ledger.rows_used, ignored.ledger.rows_ignored) == (1, 1)
    assert (used.ledger.rows_used, used.ledger.rows_ignored) == (2, 0)


def test_ledger_adds_up_over_all_kinds_of_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    turned = "<size><width>16</width><height>20</height></size>"
    shrunk = "<size><width>10</width><height>8</height></size>"
    spec = make_voc(
        tmp_path,
        {
            "a": document(thing("dog"), thing(), thing()),
            "b": document(),
            "c": None,
            "d": document(thing(), size=turned),
            "e": document(thing(corners=(1, 1, 5, 5)), thing(corners=(2, 2, 5, 5)), size=shrunk),
            "f": b"<annotation>",
        },
    )
    ledger = scan_split(spec, "train").ledger
    assert (ledger.images_found, ledger.images_empty, ledger.images_missing, ledger.images_unusable) == (2, 1, 1, 2)
    assert (ledger.rows_read, ledger.rows_used, ledger.rows_deduplicated, ledger.rows_refused) == (7, 4, 1, 2)
    told = [(Path(entry.file).name, entry.place, entry.outcome, entry.rows) for entry in ledger.entries]
    assert told == [
        ("a.xml", "object 3", "deduplicated", 1),
        ("d.png", "", "unusable image", 0), ("d.xml", "object 1", "refused", 1),
        ("e.xml", "", "note", 0),
        ("f.png", "", "unusable image", 0), ("f.xml", "", "refused", 1),
    ]  # fmt: skip
    assert "16 x 20 pixels, the image has 20 x 16, with another aspect ratio" in ledger.entries[2].reason
    assert "10 x 8 pixels, the image has 20 x 16: its boxes were scaled" in ledger.entries[3].reason


def test_unknown_names_stop_the_scan_unless_all_count_as_one(tmp_path: Path) -> None:
    spec = make_voc(tmp_path, {"a": document(thing("cow"), thing("emu"), thing("cat"))})
    with pytest.raises(DataError, match="the classes `cow`, `emu` are not among the 2 classes") as error:
        scan_split(spec, "train")
    assert "a.xml` object 2: class `emu` is not among" in str(error.value)
    result = scan_split(spec, "train", options=ScanOptions(single_cls=True))
    assert (result.index.class_ids.tolist(), result.ledger.rows_deduplicated) == ([0], 2)


def test_names_that_the_yaml_does_not_give_are_those_of_the_objects(tmp_path: Path) -> None:
    spec = make_voc(tmp_path, {"a": document(thing("owl"), thing("bee")), "b": b"no XML", "c": None}, yaml="")
    assert spec.names == ("bee", "owl")
    (tmp_path / "xml/a.xml").write_text(document())
    with pytest.raises(DataError, match=r"the XML files below .* have no object with a name") as error:
        load_dataset_spec(tmp_path / "data.yaml")
    assert "b.xml`: not well-formed XML: syntax error in line 1" in str(error.value)


@pytest.mark.parametrize(
    "data",
    [
        f"<?xml version='1.0' encoding='gb2312'?>{document(thing('猫'))}".encode("gb2312"),
        f'<?xml version="1.0" encoding="GBK" standalone="no"?>{document(thing("猫"))}'.encode("gbk"),
        f"<?xml version='1.0' encoding='shift_jis'?>{document(thing('猫'))}".encode("shift_jis"),
        f"<?xml version='1.0' encoding='euc-jp'?>{document(thing('猫'))}".encode("euc-jp"),
        f"\n  <?xml version='1.0' encoding='utf-8'?>{document(thing('猫'))}".encode(),
        f"<!DOCTYPE annotation>{document(thing('猫'))}".encode(),
        document(thing("猫")).replace("<", "<v:").replace("<v:/", "</v:").encode(),
        document(thing("猫")).encode("utf-16"),
    ],
    ids=["gb2312", "gbk", "shift-jis", "euc-jp", "leading space", "plain doctype", "prefix", "utf-16"],
)
def test_declared_encodings_and_harmless_oddities_are_read(data: bytes) -> None:
    (entry,) = parse_voc(data).objects
    assert (entry.label, entry.shape) == ("猫", (2, 3, 12, 11))


def test_list_names_the_images_of_a_split_without_their_suffix(tmp_path: Path) -> None:
    make_voc(tmp_path, {name: document(thing()) for name in ("a", "b b", "c")})
    (tmp_path / "train.txt").write_text("a\nb b\n")
    (tmp_path / "val.txt").write_text("c  1\ngone -1\n\n")
    places = "images: images, annotations: xml, list"
    (tmp_path / "data.yaml").write_text(
        f"format: voc\ntrain: {{{places}: train.txt}}\nval: {{{places}: val.txt}}\nnames: [cat]\n"
    )
    spec = load_dataset_spec(tmp_path / "data.yaml")
    assert [Path(path).name for path in scan_split(spec, "train").index.paths] == ["a.png", "b b.png"]
    ledger = scan_split(spec, "val").ledger
    assert (ledger.images_listed, ledger.rows_used) == (2, 1)
    assert ledger.of("unusable image")[0].file == str(tmp_path / "images/gone.jpg")


@pytest.mark.parametrize(
    ("image", "xml"),
    [
        ("/data/images/1.jpg", "/xml/1.xml"),
        ("/data/images/a/b.c/1.d.jpg", "/xml/a/b.c/1.d.xml"),
        ("/data/images/.jpg", "/xml/.jpg.xml"),
        ("/other/a/1.jpg", "/xml/1.xml"),
    ],
)
def test_xml_lies_as_the_image_does(image: str, xml: str) -> None:
    assert path_below(Path("/xml"), image, ["/data/images"], suffix=".xml") == xml


def test_data_folder_is_never_touched_and_changes_are_noticed(tmp_path: Path) -> None:
    spec, cache = make_voc(tmp_path / "data", {"a": document(thing()), "b": document(thing("dog"))}), tmp_path / "cache"
    before = tree_digest(tmp_path / "data")
    assert [scan_split(spec, "train", cache_folder=cache).from_cache for _ in range(2)] == [False, True]
    assert tree_digest(tmp_path / "data") == before
    (tmp_path / "data/xml/a.xml").write_text(document(thing(), thing(corners=(1, 1, 9, 9))))
    assert len(scan_split(spec, "train", cache_folder=cache).index.class_ids) == 3
    renamed = make_voc(tmp_path / "data", {}, yaml="names: [dog, cat]")
    assert scan_split(renamed, "train", cache_folder=cache).index.class_ids.tolist() == [1, 1, 0]


def test_file_that_cannot_be_read_counts_as_one_refused_row(tmp_path: Path) -> None:
    spec = make_voc(tmp_path, {"a": document(thing()), "b": None})
    (tmp_path / "xml/b.xml").mkdir()
    (entry,) = scan_split(spec, "train").ledger.of("refused")
    assert "is not a regular file" in entry.reason


def test_size_that_is_given_with_a_point_counts() -> None:
    assert parse_voc(document(size="<size><width>40.0</width><height>32</height></size>").encode()).size_hw == (32, 40)
    assert parse_voc(document(size=SIZE).encode()).size_hw == IMAGE
    with pytest.raises(RefusedRow):
        parse_voc(b"<a>")
    assert BOX == (2, 3, 12, 11)


def test_labels_that_are_elsewhere_are_looked_for_where_the_yaml_says(tmp_path: Path) -> None:
    spec = make_voc(tmp_path, {"a": document(thing()), "b": None, "c": None})
    with pytest.raises(DataError, match=r"2 of 3 images have no label file; looked for `.*/xml/b\.xml`") as error:
        scan_split(spec, "train")
    assert f"lies below `{tmp_path / 'xml'}` as the image lies below its folder" in str(error.value)
    assert "instead of `images`" not in str(error.value)
