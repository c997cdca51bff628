"""YAML is data: bombs, tags, duplicates and foreign encodings are refused with file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelook.errors import SettingsError
from onelook.files.yaml import dump_yaml, load_yaml


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: !!python/object/apply:os.system ['x']\n", "line 2: YAML tag"),
        ("a: &x [1]\nb: *x\n", "line 1: YAML anchors"),
        ("a: 1\na: 2\n", "line 2: not valid YAML: key `a` is given twice"),
        ("a: [1\n", "not valid YAML"),
        ("- 1\n- 2\n", "holds no `key: value` lines"),
        ("", "holds no `key: value` lines"),
        ("a: " + "[" * 30 + "]" * 30, "nested deeper"),
    ],
)
def test_what_is_not_plain_data_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        load_yaml(path)
    assert message in str(caught.value)
    assert "x.yaml" in str(caught.value)


def test_size_encoding_and_absence_are_named(tmp_path: Path) -> None:
    large, latin = tmp_path / "large.yaml", tmp_path / "latin.yaml"
    large.write_text("a: " + "x" * (1 << 20))
    latin.write_bytes("a: gr\xfcn".encode("latin-1"))
    wide = tmp_path / "wide.yaml"
    wide.write_text("a: 1", encoding="utf-16")
    missing = (tmp_path / "no.yaml", "does not exist")
    for path, message in [
        (large, "a settings file has at most"),
        (latin, "not UTF-8"),
        (wide, "is UTF-16 text"),
        missing,
    ]:
        with pytest.raises(SettingsError, match=message):
            load_yaml(path)


def test_exponents_are_numbers_and_a_dump_reads_back(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("a: 1e-3\nb: 5\nc: -2E5\nd: e5\ne: '1e-3'\n")
    content = load_yaml(path)
    assert content == {"a": 0.001, "b": 5, "c": -200000.0, "d": "e5", "e": "1e-3"}
    path.write_text(dump_yaml(content))
    assert load_yaml(path) == content


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (f"a: {'9' * 5000}", "number of 5000 characters\nhint: numbers have at most 100 digits"),
        (f"a: 0x{'F' * 5000}", "number of 5002 characters"),
        (f"a: [1, {'1_' * 4000}0]", "number of 8001 characters"),
        ("a: 2026-13-45", "hint: put text in quotes"),
        ("a: 1\nb: 0b", None),
        ('path: "C:\\data\\x"', "hint: a backslash in double quotes"),
        ("a:\n\tb: 1", "hint: YAML has no tabs"),
        ("\ta: 1", "hint: YAML has no tabs"),
    ],
)
def test_values_that_cannot_be_read_are_errors_that_name_their_line(
    tmp_path: Path, text: str, words: str | None
) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(text)
    if words is None:
        load_yaml(path)
        return
    with pytest.raises(SettingsError) as error:
        load_yaml(path)
    assert words in str(error.value) and " line " in str(error.value) and len(str(error.value)) < 400
