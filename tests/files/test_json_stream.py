"""JSON that is parsed entry by entry: what `json.loads` makes of it, at any cut, in little memory."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from onelook.errors import DataError
from onelook.files import json_stream
from onelook.files.bounded import content_digest, file_digest, pieces_of
from onelook.files.json_stream import parse_lists

DECODER = json.JSONDecoder()
TEXTS = [
    "{}", " { } ", "[]", "[1, 2]", "7", '"a"', "null", '{"a": []}', '{"a": [ ] , "b": {}}', '{"a": [1]}',
    '{"a": [1.5e+3, -1, 12, 0.25, -0, 1E5, -2.5e-3]}', '{"a": 12.5e1, "b": -3}', '{"a": [NaN, Infinity, -Infinity]}',
    '{"a": [true, false, null, "x,]}", [], {}, [[1], {"b": [2]}]]}', '{"a": 1, "a": [2], "a": [3, {"a": 4}]}',
    '{"\\u00e9\\"]": ["\\ud83d\\ude00", "é", "😀"], "b": "\\\\"}', '\n{\t"a"\r\n:\n[\n{"b"\n:\n1\n}\n,\n2\n]\n}\n',
    "\ufeff{}",
    "", " ", "{", "[", '{"a"', '{"a":', '{"a": [', '{"a": [1', '{"a": [1,', '{"a": [1,]}', '{"a": [1 2]}', '{"a" 1}',
    '{"a": 1,}', "{a: 1}", '{"a": [1]} x', "{} {}", "{,}", '{"a": [,1]}', '{"a": [01]}', '{"a": ["\n"]}', "{'a': 1}",
    '{"a": [1.]}', '{"a": [1.5e]}', '{"a": [.5]}', '{"a": [-]}', '{"a": [+1]}', '{"a": [tru]}', '{"a": [1}', '{"a": 1]',
    '{"a": "' + "x" * 300 + '", "b": [' + "9" * 400 + "]}", '{"a": [' + "9" * 5000 + "]}",
]  # fmt: skip


def pieces(data: bytes, length: int) -> Iterator[bytes]:
    return (data[start : start + length] for start in range(0, len(data), length))


def outcome(parse: Any) -> str:
    """What comes of it, as text, since NaN equals nothing."""
    try:
        return json.dumps(parse())
    except ValueError:
        return "no JSON"


@pytest.mark.parametrize("text", TEXTS, ids=[f"{number}" for number in range(len(TEXTS))])
def test_result_is_that_of_the_text_as_a_whole_wherever_it_is_cut(text: str) -> None:
    data = text.encode()
    whole = outcome(lambda: json.loads(data.decode("utf-8-sig")))
    for length in (1, 2, 3, 5, 16, 10_000):
        found = outcome(lambda length=length: parse_lists(pieces(data, length), DECODER))
        assert found == whole, f"in pieces of {length}"


def test_random_documents_are_parsed_alike() -> None:
    rng = np.random.Generator(np.random.Philox(key=7))
    alphabet = [*'{}[],:" 1-.eé\\n"', '"a"', "[1", "{}", "[]", "null", '":', "}]"]
    seen = set()
    for _ in range(3000):
        text = "{" + "".join(alphabet[number] for number in rng.integers(0, len(alphabet), rng.integers(0, 12))) + "}"
        whole = outcome(lambda text=text: json.loads(text))
        data, length = text.encode(), int(rng.integers(1, 9))
        assert outcome(lambda data=data, length=length: parse_lists(pieces(data, length), DECODER)) == whole, text
        seen.add(whole)
    assert len(seen) > 3


@pytest.mark.parametrize(
    ("data", "start"), [(b'{"a": \xff}', 6), (b'{"a": "\xc3\x28"}', 7), (b'{"a": "\xc3', 7), (b"\xff\xfe{}", 0)]
)
@pytest.mark.parametrize("length", [1, 2, 4, 100])
def test_byte_that_is_no_utf8_is_told_with_its_place_in_the_whole(data: bytes, start: int, length: int) -> None:
    with pytest.raises(UnicodeDecodeError) as error:
        parse_lists(pieces(data, length), DECODER)
    assert error.value.start == start


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": [1, 2 3]}', r"a comma or `\]` is expected \(character 12\)"),
        ('{"a": [1], 5: 1}', r"the name of a value is expected \(character 11\)"),
        ('{"a" 1}', r"a colon is expected \(character 5\)"),
        ('{"a": [1, tru]}', r"Expecting value \(character 10\)"),
        ("{} x", r"there is more after its end \(character 3\)"),
    ],
)
def test_what_is_wrong_is_told_with_its_place_in_the_whole(text: str, message: str) -> None:
    for length in (1, 3, 100):
        with pytest.raises(ValueError, match=message):
            parse_lists(pieces(text.encode(), length), DECODER)


def test_long_list_needs_the_memory_of_its_entries_alone() -> None:
    entry = json.dumps({"id": 1, "bbox": [1.5, 2.5, 3.5, 4.5], "segmentation": [[1.25] * 40]}).encode() + b","

    def text() -> Iterator[bytes]:
        yield b'{"annotations": ['
        yield from (entry for _ in range(4000))
        yield b'1], "images": []}'

    tracemalloc.start()
    content = parse_lists(text(), json.JSONDecoder(object_hook=lambda entry: None))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(content["annotations"]) == 4001 and 4000 * len(entry) == 1_200_000
    assert peak < 100_000


def test_entry_without_end_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_stream, "MAX_ENTRY", 1000)
    taken = []

    def text() -> Iterator[bytes]:
        yield b'{"annotations": ["'
        for number in range(100_000):
            taken.append(number)
            yield b"x" * 100

    with pytest.raises(ValueError, match="Unterminated string"):
        parse_lists(text(), DECODER)
    assert len(taken) < 50


def test_pieces_are_the_file_and_its_hash_is_that_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(bytes(range(256)) * 10)
    assert b"".join(pieces_of(path, 2560, piece_bytes=7)) == path.read_bytes()
    assert max(map(len, pieces_of(path, 2560, piece_bytes=7))) == 7
    assert file_digest(path, 2560) == content_digest(path.read_bytes())
    assert file_digest(path, 2559) == file_digest(tmp_path / "gone", 1) == b""


@pytest.mark.parametrize(
    ("name", "message"), [("gone", "cannot be read: No such"), (".", "Is a dir|not a regular"), ("a\0b", "null byte")]
)
def test_what_is_no_file_is_refused(tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        list(pieces_of(f"{tmp_path}/{name}", 10))


def test_file_above_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(DataError, match="has 5 bytes, more than the limit of 4"):
        list(pieces_of(tmp_path / "a", 4))
