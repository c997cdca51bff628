"""`onelook download`: fetches the dataset that a YAML describes, a public one, or published weights."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from onelook.cli.command_result import CommandResult
from onelook.data.sets import PUBLIC_SETS
from onelook.errors import counted
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.recipes.download import download
from onelook.recipes.download_weights import download_weights
from onelook.settings.build import build_settings
from onelook.settings.command_line import typed_options
from onelook.settings.download import DownloadSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    given = typed_options(arguments, DownloadSettings)
    settings = build_settings(DownloadSettings, given, file=arguments.settings)
    if not settings.data:
        print("Datasets:", *(f"  {name:<12}{what}" for name, what in PUBLIC_SETS.items()), sep="\n")
        print("Weights, trained on COCO:", *_known_weights(), "Fetch one with `onelook download NAME`.", sep="\n")
        return CommandResult({"datasets": PUBLIC_SETS, "weights": PUBLISHED_WEIGHTS})
    if settings.data in PUBLISHED_WEIGHTS:
        return _weights(settings)
    result = download(given, file=arguments.settings)
    print(f"{counted(len(result.fetched), 'archive')}, {counted(result.files, 'file')}, unpacked to {result.root}")
    print(f"train with `--data {result.data}`")
    return CommandResult(result)


def _known_weights() -> Iterator[str]:
    for name, weights in PUBLISHED_WEIGHTS.items():
        size = f"{weights.size / 1e6:.0f} MB, " if weights.size else ""
        yield f"  {name:<12}{size}{weights.origin.licence}"


def _weights(settings: DownloadSettings) -> CommandResult:
    is_elsewhere = "output" in settings.model_fields_set
    result = download_weights(settings.data, folder=settings.output if is_elsewhere else None)
    print(f"{'fetched' if result.is_new else 'here already'}: {result.path}")
    print(f"{result.origin}; {result.origin.notice}")
    print(f"train with `--weights {result.path if is_elsewhere else result.name}`")
    return CommandResult(result)
