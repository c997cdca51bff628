"""JSON whose lists are longer than the memory has room for as text: one entry is parsed after the other."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

# No entry of a list, nor anything beside the lists, may have more characters.
MAX_ENTRY = 1 << 26

# Of a number that is cut off, such as `1.5e+`, so many characters at most are no number without the rest.
_CUT_OFF = 2
_SPACE = " \t\n\r"
_SPACES = re.compile(f"[{_SPACE}]*")


def parse_lists(pieces: Iterable[bytes], decoder: json.JSONDecoder) -> Any:
    """What `decoder` makes of JSON in UTF-8, with or without a byte-order mark; but its hook is not given the whole.

    If the whole is an object, lists that are its values are parsed entry by entry, so that of the text only about one
    entry or piece is held at a time.

    Raises:
        UnicodeDecodeError: no UTF-8; `start` counts from the first byte of all.
        ValueError: no JSON, or an entry of more than 2**26 characters.
        RecursionError: nested too deeply.
    """
    text = _Text(pieces)
    content = _object(text, decoder) if text.upcoming() == "{" else text.value(decoder)
    if text.upcoming():
        raise text.problem("there is more after its end")
    return content


def _object(text: _Text, decoder: json.JSONDecoder) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for found in _items(text, "}"):
        if found != '"':
            raise text.problem("the name of a value is expected")
        name = text.value(decoder)
        if text.upcoming() != ":":
            raise text.problem("a colon is expected")
        text.take()
        is_list = text.upcoming() == "["
        content[name] = [text.value(decoder) for _ in _items(text, "]")] if is_list else text.value(decoder)
    return content


def _items(text: _Text, end: str) -> Iterator[str]:
    """The first character of each of the things between a bracket, which is next, and `end`; they are to be taken."""
    text.take()
    if text.upcoming() == end:
        text.take()
        return
    while True:
        yield text.upcoming()
        separator = text.upcoming()
        if separator not in (",", end):
            raise text.problem(f"a comma or `{end}` is expected")
        text.take()
        if separator == end:
            return


class _Text:
    """A window on the text: what was parsed is dropped, what is needed is read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._bytes_read = 0
        self._text = ""
        self._offset = 0
        self._dropped = 0
        self._is_complete = False

    def upcoming(self) -> str:
        """The next character that is no space, which stays; empty at the end."""
        found = self._text[self._offset : self._offset + 1]
        if found and found not in _SPACE:
            return found
        while True:
            spaces = _SPACES.match(self._text, self._offset)
            self._offset = spaces.end() if spaces else self._offset
            if self._offset < len(self._text):
                return self._text[self._offset]
            if self._is_complete:
                return ""
            self._read_on()

    def take(self) -> None:
        """Leave the next character behind."""
        self._offset += 1

    def value(self, decoder: json.JSONDecoder) -> Any:
        """The value that starts right here."""
        while True:
            try:
                value, end = decoder.raw_decode(self._text, self._offset)
            except json.JSONDecodeError as problem:
                if self._is_complete or len(self._text) - self._offset > MAX_ENTRY:
                    self._offset = problem.pos
                    raise self.problem(problem.msg) from problem
            else:
                if self._is_complete or len(self._text) - end > _CUT_OFF:
                    self._offset = end
                    return value
            self._read_on()

    def problem(self, what: str) -> ValueError:
        """That it is wrong here."""
        return ValueError(f"{what} (character {self._dropped + self._offset})")

    def _read_on(self) -> None:
        """Make the window at least twice as long, so that a long value is not tried too often."""
        rest = self._text[self._offset :]
        parts, missing = [rest], max(len(rest), 1)
        while missing > 0 and not self._is_complete:
            data = next(self._pieces, b"")
            self._is_complete = not data
            parts.append(self._decoded(data))
            missing -= len(parts[-1])
        self._dropped += self._offset
        self._text, self._offset = "".join(parts), 0

    def _decoded(self, data: bytes) -> str:
        held_back = len(self._decoder.getstate()[0])
        try:
            text = self._decoder.decode(data, final=not data)
        except UnicodeDecodeError as problem:
            problem.start += self._bytes_read - held_back
            raise
        self._bytes_read += len(data)
        return text
