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
On the command line, write `iou_thres` as `--iou-thres` or `--iou_thres`. A yes-or-no setting is switched on by its
name alone (`--noplots`) and off by `--noplots no`. In Python, settings are keyword arguments; in a file for
`--settings`, they are keys, and the command line wins. Unknown names are errors.
"""

ANCHORS = """\
Measures how well the anchors of a model fit the training labels of a dataset, searches for better ones, and draws both:

```sh
onelook anchors bees.yaml --cfg yolov5s --imgsz 640
```

The command writes only the image. A label is in reach of an anchor if neither its width nor its height differs by a
factor of `anchor_t` or more; a label out of reach of all anchors cannot be learned. The tables show:

* **labels in reach**: the best possible recall. Above 98 %, training keeps the anchors; otherwise it takes those of
  this search if they are better. `--noautoanchor` always keeps them.
* **anchors within reach of a label**: the more, the more cells of the output maps learn from it.
* **ratio to the best anchor**: of the side that fits worse, 0 to 1.
* for each output map, the labels in reach of its anchors, and those whose best anchor it has.

New anchors come from k-means on at most 20,000 labels, drawn by `seed`, followed by 1000 random mutations, each kept if
labels fit better. They are sorted by size, and each output map gets the same number, small ones on fine maps. The last
lines of the output are for the YAML of a [model](models.md). In the image, grey labels are out of reach."""

EVOLVE = """\
Searches for better hyperparameters. In Python: `onelook.evolve(data, **settings)`. `onelook train --evolve N` does the
same. See [Tune hyperparameters](../guides/tune.md).

All settings of [onelook train](train.md) and all [hyperparameters](hyperparameters.md) apply to every trial. Trials
write no plots, save only at their end, and are not tracked."""

GENES_TABLE = """\
## What is searched

Values are rounded to 5 decimals. The gain is the relative size of mutations in the genetic search; hyperparameters with
a gain of 0 are not searched. `anchors` start at 3 unless given, and are not searched with `noautoanchor`. Optuna's
search uses the scale in the last column.

| hyperparameter | gain | minimum | maximum | scale |
| --- | ---: | ---: | ---: | --- |
"""

OPTIONS_TABLE = """\
## Options of YOLOv5's trainer

All of them, each with the tests that fail if it is ignored; `scripts/mutate_options.py` ignores each in turn to show
that they do. Hyphens and underscores mean the same. Differences are listed in
[Coming from YOLOv5](../guides/coming-from-yolov5.md#train).

| option | setting | tests |
| --- | --- | --- |
"""

ERRORS = """\
# Errors and exit codes

{mark}

An error message says what is wrong, with which value, and where; a line `hint:` says how to fix it. Several problems of
one kind are listed together. In Python, all errors that a user can cause are an `OnelookError` with the same text as
`message`, and `hint` and `exit_code`.

| exception | exit code | meaning |
| --- | ---: | --- |
{rows}

| exit code | other causes |
| ---: | --- |
| 0 | success |
| {software} | a bug in Onelook: please report it, with the traceback that `ONELOOK_DEBUG=1` shows |
| {memory} | out of memory |
| {io} | a file could not be read or written: full disk, no permission |
| {interrupted} | ended at once by a second Ctrl-C; 128 + n by a second signal of number n |
| {unread} | whoever read the output, such as `head`, left before the command was done |

Exit code 75 means that Ctrl-C, SIGTERM or SIGUSR1 stopped the command; a run continues with `--resume`.
`onelook detect` exits with 65 if any file of its source could not be used; the results of the others are complete.

## Output for programs

With `--json`, every command prints one JSON document on standard output, and all text for people, progress included, on
standard error:

```sh
onelook val --weights runs/train/exp --data bees.yaml --json
```

The document holds the result and `exit_code`. After an error it holds `error`, `hint` (or null) and `exit_code`; a
command that fails with a result, such as `onelook check --strict` or `onelook detect` with a damaged image, gives all
of these. Numbers that are undefined are null. `train` and `val` give `run_folder` and, as `metrics`, the content of
`metrics.json`; `check` gives that of `check.json`; `detect` gives all detections. A bug gives a document too; only a
process that is killed, or ended at once by a second Ctrl-C, prints none.
"""


def main() -> None:
    """Write all pages."""
    for name, text in {**quick_pages(), "models.md": models_page()}.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
        print(FOLDER / name)
    import write_keywords
    import write_llms

    write_keywords.main()
    write_llms.main()


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
            "Shows what a weights file contains. In Python: `onelook.info(weights, **settings)`. See\n"
            "[Inspect and shrink weights](../guides/weights.md).",
            _own_fields(InfoSettings),
        ),
        "check.md": _page(
            "onelook check",
            "Reports what is wrong with a dataset, and how to fix it. In Python: `onelook.check(data, **settings)`.\n"
            "See [Check your data](../guides/check-your-data.md).",
            _own_fields(CheckSettings),
        ),
        "split.md": _page(
            "onelook split",
            "Splits a dataset. In Python: `onelook.split(data, output, **settings)`. See\n"
            "[Split a dataset](../guides/split.md).",
            _own_fields(SplitSettings),
        ),
        "download.md": _page(
            "onelook download",
            "Downloads a dataset. In Python: `onelook.download(data, **settings)`. See\n"
            "[Download a dataset](../guides/download.md).",
            _own_fields(DownloadSettings),
        ),
        "anchors.md": _page("onelook anchors", ANCHORS, _own_fields(AnchorSettings)),
        "convert-data.md": _page(
            "onelook convert-data",
            "Converts a dataset to another format, in a new folder. See\n[Data formats](../guides/data-formats.md).",
            _own_fields(ConvertDataSettings),
        ),
        "export.md": _page(
            "onelook export",
            "Exports a detector to other formats, and compares it with the model. In Python:\n"
            "`onelook.export(weights, **settings)`. See [Export](../guides/export.md).",
            _own_fields(ExportSettings),
        ),
        "benchmark.md": _page(
            "onelook benchmark",
            "Measures size, mAP and speed of a detector in several formats. In Python:\n"
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
        "The models for `--cfg NAME`. Parameters and operations are for 80 classes; operations for one 640 x",
        "640 image, a multiply-add counted as two, without batch norm and activations. Strides are pixels per",
        "cell of each output map; image sizes are multiples of the largest. `onelook models` prints the same",
        "table, and with a name and `--rows` the layers; both take your own YAML too.",
        "",
        "| name | what it is | parameters | GFLOPs | strides |",
        "| --- | --- | ---: | ---: | --- |",
        *map(model_row, MODELS),
        "",
        "Models with a mask head train and detect boxes only.",
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
        "Trains a detector, or resumes a run. In Python: `onelook.train(data, **settings)`, and\n"
        "`onelook.train_folds(folds, **settings)` for `folds`. See\n"
        "[Train on your data](../guides/train-on-your-data.md), [Stop and resume](../guides/resume.md) and\n"
        "[Cross-validation](../guides/split.md#cross-validation).\n\n"
        "The settings of optimiser, loss and augmentation are on [another page](hyperparameters.md)."
    )
    sys.path[:0] = [str(ROOT / "tests" / "support"), str(ROOT / "tests" / "runs")]
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
        "Settings of `onelook train` like any other: `--lr0 0.002` sets one, `--hyp FILE` reads them from a YAML\n"
        "file, `--hyp NAME` takes a preset, and the command line wins."
    )
    presets = {name: load_yaml(preset_path(name)) for name in PRESETS}
    lines = [
        "",
        "## Presets",
        "",
        "The defaults are the preset `scratch-low`; a dash means the default.",
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
        f"| `{name}` | {gene.gain:g} | {gene.low:g} | {gene.high:g} | {'logarithmic' if gene.log else 'linear'} |"
        for name, gene in GENES.items()
    ]
    return f"{page}\n{GENES_TABLE}" + "\n".join(lines) + "\n"


def _errors_page() -> str:
    kinds = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, OnelookError)]
    rows = [f"| `{kind.__name__}` | {kind.exit_code} | {_first_line(kind)} |" for kind in kinds]
    return ERRORS.format(
        mark=MARK,
        rows="\n".join(rows),
        software=errors.EXIT_SOFTWARE,
        memory=errors.EXIT_MEMORY,
        io=errors.EXIT_IO,
        interrupted=errors.EXIT_INTERRUPTED,
        unread=errors.EXIT_UNREAD,
    )


def _first_line(kind: type) -> str:
    return (kind.__doc__ or "").split("\n")[0]


def _own_fields(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    hyperparameters = Hyperparameters.model_fields if kind is TrainSettings else {}
    return {name: field for name, field in kind.model_fields.items() if name not in hyperparameters}


def _settings_table(fields: dict[str, FieldInfo]) -> list[str]:
    rows = [
        f"| `{name}` | {_type(field)} | {_default(field)} | {_one_line(field.description)}{_aliases(field)} |"
        for name, field in fields.items()
    ]
    return ["| setting | type | default | meaning |", "| --- | --- | --- | --- |", *rows]


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


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
