"""Write the reference pages that follow from the code: settings, hyperparameters and models.

    python scripts/write_reference.py

Which test covers which option is read from the tests. A test compares the pages with what this script would write.
"""

from __future__ import annotations

import importlib
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from onelook import errors
from onelook.cli import messages
from onelook.errors import OnelookError
from onelook.files.yaml import load_yaml
from onelook.models.catalog import MODELS
from onelook.models.count import describe
from onelook.search.genes import GENES
from onelook.settings.anchors import AnchorSettings
from onelook.settings.benchmark import BenchmarkSettings
from onelook.settings.build import PRESETS, preset_path
from onelook.settings.check import CheckSettings
from onelook.settings.convert_data import ConvertDataSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.download import DownloadSettings
from onelook.settings.evolve import EvolveSettings, SearchSettings
from onelook.settings.export import ExportSettings
from onelook.settings.folds import FoldOptions
from onelook.settings.hyperparameters import Hyperparameters
from onelook.settings.info import InfoSettings
from onelook.settings.report import ReportSettings
from onelook.settings.serve import ServeSettings
from onelook.settings.split import SplitSettings
from onelook.settings.train import TrainSettings
from onelook.settings.validate import ValidateSettings

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "reference"
MARK = "<!-- Written by scripts/write_reference.py: change the code it reads, then run it. -->"
SYMBOLS = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<", "multiple_of": "multiple of"}
TYPES = {int: "integer", float: "number", str: "text", Path: "path", bool: "yes or no", dict[str, Any]: "transform"}

SPELLING = """\
On the command line, `iou_thres` is `--iou-thres` or `--iou_thres`, and so on. A yes-or-no setting is switched on by its
name alone (`--noplots`) and off by `--noplots no`. In Python the names are keywords; in a YAML file given with
`--settings`, they are keys. What is typed wins over the YAML file. Unknown names are errors, with the nearest known
name as a hint.
"""

ANCHORS = """\
Measures how well the anchors of a model suit the training labels of a dataset, looks for better ones, and draws both:

```sh
onelook anchors bees.yaml --cfg yolov5s --imgsz 640
```

Nothing but the image is written. A label is in reach of an anchor if neither its width nor its height differs by the
factor `anchor_t` or more; a label that no anchor reaches is never learned. The tables give:

* **labels in reach**: the best possible recall. Training keeps the anchors if it is above 98 %, and otherwise replaces
  them by the ones of this search, if those are better; `--noautoanchor` keeps them in any case.
* **anchors within reach of a label**: the more, the more places of the output maps learn from it.
* **ratio to the best anchor**: of the side that suits worse, 0 to 1.
* for each output map, the labels in reach of its anchors, and those whose best anchor it has.

New anchors come from k-means and then 1000 random changes, each kept if the labels fit better; at most 20,000 labels,
chosen at random by `seed`, are looked at, so that the largest dataset takes seconds. The anchors go to the maps by
their size, small ones to fine maps, the same number to each. The last lines of the output are those to write into the
YAML of a [model](models.md). In the image, grey is out of reach."""

EVOLVE = """\
Searches for better hyperparameters. In Python: `onelook.evolve(data, **settings)`. `onelook train --evolve N` does the
same. See [Tune hyperparameters](../guides/tune.md).

All settings of [onelook train](train.md) and all [hyperparameters](hyperparameters.md) are settings of a search, too,
and apply to every trial; trials draw no images, save at their end only, and are not followed by trackers."""

GENES_TABLE = """\
## What is searched

Values are rounded to 5 decimals. The gain is the relative size of mutations in the genetic search; in both searches,
hyperparameters with a gain of 0 stay as they are. `anchors` are searched from 3 unless given, and not at all with
`noautoanchor`. Optuna's search moves by shares of the ranges, where equal ratios or differences are equal steps.

| hyperparameter | gain | least | largest | equal steps are |
| --- | ---: | ---: | ---: | --- |
"""

OPTIONS_TABLE = """\
## Options of YOLOv5's trainer

All of them, each with the tests that fail if it is ignored; `scripts/mutate_options.py` ignores each in turn, runs its
tests, and shows that they do. Hyphens and underscores mean the same. What an option does otherwise than there is told
in [Coming from YOLOv5](../guides/coming-from-yolov5.md#train).

| option | setting | tests |
| --- | --- | --- |
"""

ERRORS = """\
# Errors and exit codes

{mark}

An error message says what is wrong, with which value, where; the next line, `hint:`, says what to do about it, if that
is known. Several problems of one kind are listed together. In Python the same text is the text of an exception; all
exceptions that a user can cause are an `OnelookError`, with `message`, `hint` and `exit_code`.

| exception | exit code | what it means |
| --- | ---: | --- |
{rows}

| exit code | what else it means |
| ---: | --- |
| 0 | done |
| {software} | a fault in Onelook: please report it, with the traceback that `ONELOOK_DEBUG=1` shows |
| {memory} | not enough memory |
| {io} | a file could not be read or written for a reason that lies outside: a full disk, no permission |
| {interrupted} | ended at once by a second Ctrl-C; 128 + n by a second signal of number n |

Exit code 75 means that Ctrl-C, SIGTERM or SIGUSR1 was obeyed, and that a run can go on with `--resume`; a batch system
can start it again as it is. `onelook detect` ends with 65 if any file of its source could not be used; the results of
the others are complete.
"""


def main() -> None:
    """Write all pages."""
    for name, text in {**quick_pages(), "models.md": models_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)


def quick_pages() -> dict[str, str]:
    """File name -> text of all pages but that of the models, which takes seconds."""
    return {
        "train.md": _train_page(),
        "val.md": _page(
            "onelook val",
            "Measures a checkpoint on a split. In Python: `onelook.validate(weights, data, **settings)`. See\n"
            "[Validate](../guides/validate.md).",
            _own_fields(ValidateSettings),
        ),
        "detect.md": _page(
            "onelook detect",
            "Runs a detector on images, videos and streams.\n"
            "In Python: `onelook.detect(weights, source, **settings)`\n"
            "or, for a function to call, `onelook.load(weights)`. See [Detect](../guides/detect.md).",
            _own_fields(DetectSettings),
        ),
        "report.md": _page(
            "onelook report",
            "Writes a page about a run, or one that compares several. In Python: `onelook.report(*runs, out=...)`.\n"
            "See [Report runs](../guides/report.md).",
            _own_fields(ReportSettings),
        ),
        "serve.md": _page(
            "onelook serve",
            "Answers requests for detections over HTTP. In Python: `onelook.serve(weights, **settings)`. See\n"
            "[Serve a detector](../guides/serve.md).",
            _own_fields(ServeSettings),
        ),
        "info.md": _page(
            "onelook info",
            "Shows what a file of weights holds. In Python: `onelook.info(weights, **settings)`. See\n"
            "[Look into weights](../guides/weights.md).",
            _own_fields(InfoSettings),
        ),
        "check.md": _page(
            "onelook check",
            "Tells what is wrong with a dataset, and what cures it. In Python: `onelook.check(data, **settings)`.\n"
            "See [Check your data](../guides/check-your-data.md).",
            _own_fields(CheckSettings),
        ),
        "split.md": _page(
            "onelook split",
            "Divides a dataset anew. In Python: `onelook.split(data, output, **settings)`. See\n"
            "[Divide a dataset](../guides/split.md).",
            _own_fields(SplitSettings),
        ),
        "download.md": _page(
            "onelook download",
            "Fetches a dataset. In Python: `onelook.download(data, **settings)`. See\n"
            "[Fetch a dataset](../guides/download.md).",
            _own_fields(DownloadSettings),
        ),
        "anchors.md": _page("onelook anchors", ANCHORS, _own_fields(AnchorSettings)),
        "convert-data.md": _page(
            "onelook convert-data",
            "Writes a dataset in another format, into a new folder. See\n[Data formats](../guides/data-formats.md).",
            _own_fields(ConvertDataSettings),
        ),
        "export.md": _page(
            "onelook export",
            "Writes a detector for other run times, and compares it with the model. In Python:\n"
            "`onelook.export(weights, **settings)`. See [Export](../guides/export.md).",
            _own_fields(ExportSettings),
        ),
        "benchmark.md": _page(
            "onelook benchmark",
            "Measures size, precision and speed of a detector in several formats. In Python:\n"
            "`onelook.benchmark(weights, **settings)`. See [Export](../guides/export.md#measure).",
            _own_fields(BenchmarkSettings),
        ),
        "evolve.md": _evolve_page(),
        "hyperparameters.md": _hyperparameters_page(),
        "errors-and-exit-codes.md": _errors_page(),
    }


def models_page() -> str:
    """The table of shipped models; takes some seconds, every model is built without memory for its weights."""
    lines = [
        "# Models",
        "",
        MARK,
        "",
        "The models that `--cfg NAME` finds. Parameters and operations are for 80 classes; operations for one image of",
        "640 x 640 pixels, a multiply-add counted as two, batch-norm and activations left out. Strides are pixels per",
        "cell of each output map; image sizes are multiples of the largest. `onelook models` prints the same numbers,",
        "`onelook models NAME --rows` the layers too, and both take a YAML file of yours.",
        "",
        "| name | what it is | parameters | GFLOPs | strides |",
        "| --- | --- | ---: | ---: | --- |",
        *map(model_row, MODELS),
        "",
        "Those with a mask head have its layers and sizes; training and detection use their boxes only.",
    ]
    return "\n".join(lines) + "\n"


def model_row(name: str) -> str:
    """The line of one model in the table."""
    summary = describe(name)
    strides = " ".join(map(str, summary.strides))
    return f"| `{name}` | {MODELS[name]} | {summary.parameters:,} | {summary.gflops:.1f} | {strides} |"


def _page(title: str, introduction: str, fields: dict[str, FieldInfo]) -> str:
    lines = [f"# {title}", "", MARK, "", introduction, "", SPELLING, *_settings_table(fields)]
    return "\n".join(lines) + "\n"


def _train_page() -> str:
    introduction = (
        "Trains a detector, or goes on with a run. In Python: `onelook.train(data, **settings)`, and\n"
        "`onelook.train_folds(folds, **settings)` for `folds`. See\n"
        "[Train on your data](../guides/train-on-your-data.md), [Resume](../guides/resume.md) and\n"
        "[Cross-validation](../guides/split.md#cross-validation).\n\n"
        "The numbers that shape optimiser, loss and augmentation are settings too; they have\n"
        "[a page of their own](hyperparameters.md)."
    )
    sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "runs")]
    importlib.import_module("test_options_complete")  # and with it all tests of settings
    covered: dict[tuple[str, str], list[str]] = importlib.import_module("option_runs").COVERED
    place = {"evolve": " ([search](evolve.md))"}
    lines = [
        f"| {_codes(option.spellings)} | `{option.setting}`{place.get(option.command, '')} "
        f"| {_codes(sorted(covered[option.command, option.setting]), '<br>')} |"
        for option in importlib.import_module("yolov5_options").OPTIONS
    ]
    page = _page("onelook train", introduction, {**_own_fields(TrainSettings), **FoldOptions.model_fields})
    return f"{page}\n{OPTIONS_TABLE}" + "\n".join(lines) + "\n"


def _codes(texts: Sequence[str], between: str = " ") -> str:
    return between.join(f"`{text}`" for text in texts)


def _hyperparameters_page() -> str:
    fields = dict(Hyperparameters.model_fields)
    introduction = (
        "Settings of `onelook train` like any other: `--lr0 0.002` changes one, `--hyp FILE` takes many from a YAML\n"
        "file, `--hyp NAME` takes a shipped preset, and what is typed wins over both."
    )
    presets = {name: load_yaml(preset_path(name)) for name in PRESETS}
    lines = [
        "",
        "## Presets",
        "",
        "The defaults are the preset `scratch-low`; a dash means that the default holds.",
        "",
        "| setting | " + " | ".join(PRESETS) + " |",
        "| --- |" + " ---: |" * len(PRESETS),
    ]
    for name in fields:
        cells = (f"{float(preset[name]):g}" if name in preset else "-" for preset in presets.values())
        lines.append(f"| `{name}` | " + " | ".join(cells) + " |")
    return _page("Hyperparameters", introduction, fields) + "\n".join(lines) + "\n"


def _evolve_page() -> str:
    names = [*SearchSettings.model_fields, "project"]
    page = _page("onelook evolve", EVOLVE, {name: EvolveSettings.model_fields[name] for name in names})
    lines = [
        f"| `{name}` | {gene.gain:g} | {gene.low:g} | {gene.high:g} | {'ratios' if gene.log else 'differences'} |"
        for name, gene in GENES.items()
    ]
    return f"{page}\n{GENES_TABLE}" + "\n".join(lines) + "\n"


def _errors_page() -> str:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OnelookError)]
    rows = [f"| `{kind.__name__}` | {kind.exit_code} | {_first_line(kind)} |" for kind in kinds]
    return ERRORS.format(
        mark=MARK,
        rows="\n".join(rows),
        software=messages.EXIT_SOFTWARE,
        memory=messages.EXIT_MEMORY,
        io=messages.EXIT_IO,
        interrupted=messages.EXIT_INTERRUPTED,
    )


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").split("\n")[0]


def _own_fields(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    hyperparameters = Hyperparameters.model_fields if kind is TrainSettings else {}
    return {name: field for name, field in kind.model_fields.items() if name not in hyperparameters}


def _settings_table(fields: dict[str, FieldInfo]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {field.description}{_aliases(field)} |"
        for name, field in fields.items()
    ]
    return ["| setting | type | default | meaning |", "| --- | --- | --- | --- |", *rows]


def _type(field: FieldInfo) -> str:
    annotation: Any = field.annotation
    if typing.get_origin(annotation) is Literal:
        return ", ".join(f"`{choice}`" for choice in typing.get_args(annotation))
    if typing.get_origin(annotation) is list:
        name = f"{TYPES[typing.get_args(annotation)[0]]}s"
    elif typing.get_origin(annotation) in (typing.Union, types.UnionType):
        name = " or ".join(TYPES[choice] for choice in typing.get_args(annotation) if choice is not types.NoneType)
    else:
        name = TYPES[annotation]
    return ", ".join([name, *_limits(field)])


def _limits(field: FieldInfo) -> Iterator[str]:
    for limit in field.metadata:
        for attribute, symbol in SYMBOLS.items():
            value = getattr(limit, attribute, None)
            if value is not None:
                yield f"{symbol} {_plain(value)}"


def _plain(value: object) -> str:
    return "2^63" if value == 2**63 else str(value)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    default = field.default
    if isinstance(default, bool):
        return "yes" if default else "no"
    if default is None:
        return "none"
    if isinstance(default, list):
        return f"`{' '.join(map(str, default))}`" if default else "none"
    return "empty" if default == "" else f"`{default}`"


def _aliases(field: FieldInfo) -> str:
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    also = " Also " + " and ".join(f"`{alias}`" for alias in extra["aliases"]) + "." if "aliases" in extra else ""
    return also + (f" The option alone means `{extra['bare']}`." if "bare" in extra else "")


if __name__ == "__main__":
    main()
