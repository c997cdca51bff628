"""Write the keywords that functions in Python take, with their types, from the settings, for editors and type checkers.

    python scripts/write_keywords.py

`scripts/write_reference.py` does the same at its end; a test compares the file with what this would write.
"""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.check import CheckSettings
from onelook.settings.detect import DetectSettings, LoadSettings
from onelook.settings.download import DownloadSettings
from onelook.settings.evolve import EvolveSettings
from onelook.settings.export import ExportSettings
from onelook.settings.info import InfoSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

FILE = Path(__file__).parents[1] / "src" / "onelook" / "settings" / "keywords.py"
HEAD = '''\
"""Keywords of the functions of `onelook.api`, for editors and type checkers; written by scripts/write_keywords.py."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypedDict
'''
NOT_KEYWORDS: dict[str, tuple[type[BaseModel], tuple[str, ...]]] = {
    "TrainKeywords": (TrainSettings, ("data", "callbacks")),
    "ValidateKeywords": (ValidateSettings, ("weights", "data")),
    "ExportKeywords": (ExportSettings, ("weights",)),
    "BenchmarkKeywords": (BenchmarkSettings, ("weights",)),
    "CheckKeywords": (CheckSettings, ("data",)),
    "SplitKeywords": (SplitSettings, ("data", "output")),
    "DownloadKeywords": (DownloadSettings, ("data",)),
    "InfoKeywords": (InfoSettings, ("weights",)),
    "ServeKeywords": (ServeSettings, ("weights",)),
}
"""Class of keywords -> its settings, and those among them that the function names as parameters."""


ACCEPTED = {
    **dict.fromkeys(("weights", "teacher", "cfg", "hyp", "data", "output", "fix", "evolve_population"), "str | Path"),
    "resume": "bool | str | Path",
    "resume_evolve": "bool | str | Path",
    "classes": "str | int | Sequence[str | int]",
    "transforms": "str | Path | Mapping[str, Any] | Sequence[Mapping[str, Any]]",
}
"""Settings that take more than their type says."""


def text() -> str:
    """The whole file."""
    classes = [_class(name, kind, without) for name, (kind, without) in NOT_KEYWORDS.items()]
    added = [name for name in EvolveSettings.model_fields if name not in TrainSettings.model_fields]
    search = [name for name in EvolveSettings.model_fields if name not in added and name != "callbacks"]
    classes.append(_class("EvolveKeywords", EvolveSettings, search, base="TrainKeywords"))
    classes.append(_class("LoadKeywords", LoadSettings, ("weights",)))
    detection = ("source", *LoadSettings.model_fields)
    classes.append(_class("DetectKeywords", DetectSettings, detection, base="LoadKeywords"))
    return HEAD + "".join(classes)


def _class(name: str, kind: type[BaseModel], without: Sequence[str], *, base: str = "TypedDict") -> str:
    total = ", total=False"
    lines = [f"class {name}({base}{total}):", f'    """Settings of `{kind.__name__}` that are keywords."""', ""]
    lines += [
        f"    {field}: {ACCEPTED.get(field) or _accepted(info.annotation)}"
        for field, info in kind.model_fields.items()
        if field not in without
    ]
    return "\n\n" + "\n".join(lines) + "\n"


def _accepted(annotation: Any) -> str:
    """What may be given for a setting of this type, as Python text."""
    return " | ".join(dict.fromkeys(_parts(annotation)))


def _parts(annotation: Any) -> Iterator[str]:
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        for part in inner:
            yield from _parts(part)
    elif origin is Literal:
        yield f"Literal[{', '.join(map(repr, inner))}]".replace("'", '"')
    elif origin is list:
        element = " | ".join(dict.fromkeys(_parts(inner[0])))
        yield from _parts(inner[0])
        yield f"Sequence[{element}]"
    elif origin is dict:
        yield "Mapping[str, Any]"
    elif annotation is Path:
        yield from ("str", "Path")
    elif annotation is type(None):
        yield "None"
    else:
        yield re.sub(r"^.*\.", "", annotation.__name__)


def main() -> None:
    """Write the file."""
    FILE.write_text(text(), encoding="utf-8")
    print(FILE)


if __name__ == "__main__":
    main()
