"""YAML as data only: bounded size and depth, no tags, no aliases, duplicate keys refused."""

from __future__ import annotations

import codecs
import difflib
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import yaml
from yaml import YAMLError

from onelook.errors import OnelookError, SettingsError

MAX_BYTES = 1 << 20
MAX_DEPTH = 20
MAX_DIGITS = 100
BEGINNING = 1 << 12
SIMILAR = 0.8
"""Minimum difflib ratio between the name of a file and the missing one."""


def _with_plain_exponents(resolvers: dict[Any, Any]) -> dict[Any, Any]:
    """`resolvers` that also take `1e-3` for a number, as people mean it; YAML 1.1 asks for a point."""
    number = re.compile(r"^[-+]?(?:\d+(?:\.\d*)?|\.\d+)[eE][-+]?\d+$")
    extended = {first: list(rules) for first, rules in resolvers.items()}
    for first in "-+0123456789.":
        extended.setdefault(first, []).append(("tag:yaml.org,2002:float", number))
    return extended


class _Strict(yaml.constructor.SafeConstructor):
    """What the safe loaders build, but a key that is given twice is refused."""

    yaml_implicit_resolvers = _with_plain_exponents(yaml.SafeLoader.yaml_implicit_resolvers)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(node.value) > MAX_DIGITS:
            told = f"`{node.value[:20]}...` is a number of {len(node.value)} characters"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark)
        try:
            return super().construct_object(node, deep)
        except (ValueError, OverflowError) as problem:  # 2026-13-45 is no date, `0x` no number
            told = f"`{str(node.value)[:40]}` is not a value: {problem}"
            raise yaml.MarkedYAMLError(problem=told, problem_mark=node.start_mark) from problem

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (list, dict)):
                continue
            if key in seen:
                raise yaml.MarkedYAMLError(problem=f"key `{key}` is given twice", problem_mark=key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


# libyaml's parser takes a tenth of the time, but its errors do not show what was found.
_FAST, _TELLING = (
    type("Loader", (_Strict, parser), {}) for parser in (getattr(yaml, "CSafeLoader", yaml.SafeLoader), yaml.SafeLoader)
)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes whatever the loader would take for a number."""

    yaml_implicit_resolvers = _with_plain_exponents(yaml.SafeDumper.yaml_implicit_resolvers)


def load_yaml(path: Path, *, error: type[OnelookError] = SettingsError) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Args:
        path: a text file of at most 1 MiB.
        error: the kind of error to raise, so that the message fits the job of the file.

    Raises:
        OnelookError: of the kind `error`, if the file is missing, too large, not UTF-8, not YAML, uses tags or
            aliases, is nested deeper than 20, or does not hold a mapping at its top.
    """
    content = parse_yaml(_read_text(path, error), f"file `{path}`", error=error)
    if not isinstance(content, dict):
        raise error(f"file `{path}` holds no `key: value` lines", hint="write one `key: value` a line")
    return content


def parse_yaml(text: str, source: str, *, error: type[OnelookError] = SettingsError) -> Any:
    """The content of YAML text: plain values, lists and mappings.

    Args:
        error: the kind of error to raise.

    Raises:
        OnelookError: of the kind `error`, if the text is not YAML, uses tags or aliases, or is nested deeper than 20.
    """
    if "\t" not in text:  # the two differ in where they allow tabs
        with suppress(YAMLError, UnicodeEncodeError):
            _refuse_code_and_bombs(text, source, error, _FAST)
            return _FAST(text).get_single_data()
    try:
        _refuse_code_and_bombs(text, source, error, _TELLING)
        return _TELLING(text).get_single_data()
    except YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f" line {mark.line + 1}" if mark is not None else ""
        what = getattr(problem, "problem", None) or str(problem)
        raise error(f"{source}{where}: not valid YAML: {what}", hint=_cure_of(what)) from problem


def line_of(path: Path, key: str) -> int:
    """The number, from 1, of the first line of a YAML file that gives `key` a value; 0 if none does."""
    pattern = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*:""")
    lines = path.read_text(encoding="utf-8-sig").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if pattern.match(line)), 0)


def dump_yaml(content: dict[str, Any]) -> str:
    """`content` as YAML text, keys in the given order."""
    return yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _cure_of(problem: str) -> str | None:
    """What to do about a problem that people often have, by the words of the parser."""
    if "escape character" in problem or "escape sequence" in problem:
        return "a backslash in double quotes begins an escape; write paths with `/`, in single quotes or in none"
    if "'\\t'" in problem:
        return "YAML has no tabs: indent with spaces"
    if "is a number of" in problem:
        return f"numbers have at most {MAX_DIGITS} digits; put text in quotes"
    if "is not a value" in problem:
        return "put text in quotes"
    return None


def _read_text(path: Path, error: type[OnelookError]) -> str:
    if not path.is_file():
        others = [one.name for one in path.parent.iterdir() if one.suffix] if path.parent.is_dir() else []
        near = difflib.get_close_matches(path.name, others, n=1, cutoff=SIMILAR)
        cure = f"did you mean `{near[0]}`?" if near else "check the path; relative paths start at the current folder"
        raise error(f"file `{path}` does not exist", hint=cure)
    if path.stat().st_size > MAX_BYTES:
        raise error(f"file `{path}` has {path.stat().st_size} bytes; a settings file has at most {MAX_BYTES}")
    beginning = path.read_bytes()[:BEGINNING]
    if beginning.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise error(f"file `{path}` is UTF-16 text", hint="save it as UTF-8")
    if b"\0" in beginning:
        raise error(f"file `{path}` is not text: it may be an image, weights or an archive", hint="give a YAML file")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as problem:
        raise error(f"file `{path}` is not UTF-8 text: byte {problem.start}", hint="save it as UTF-8") from problem


def _refuse_code_and_bombs(text: str, source: str, error: type[OnelookError], loader: Any) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark is not None else 0
        tag = getattr(event, "tag", None)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise error(f"{source} line {line}: YAML anchors and aliases are not accepted", hint="write it out")
        if tag:
            raise error(f"{source} line {line}: YAML tag `{tag}` is not accepted", hint="plain values only")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            depth += 1
            if depth > MAX_DEPTH:
                raise error(f"{source} line {line}: nested deeper than {MAX_DEPTH}")
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            depth -= 1
