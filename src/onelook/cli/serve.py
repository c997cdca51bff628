"""`onelook serve`: arguments to the recipe of the service."""

from __future__ import annotations

import argparse
from pathlib import Path

from onelook.recipes.serve import Service, serve
from onelook.settings.command_line import add_options, typed_options
from onelook.settings.serve import ServeSettings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the command: one per setting, and a file of settings."""
    parser.add_argument("--settings", type=Path, metavar="PATH", help="YAML file with any of the settings below")
    add_options(parser, ServeSettings)


def run(arguments: argparse.Namespace) -> int:
    """Serve until a signal comes; the exit code."""
    done = serve(typed_options(arguments, ServeSettings), file=arguments.settings, on_start=_announce)
    print(f"stopped: {done.answered} images answered, {done.refused} refused, {done.failed} failed")
    return 0


def _announce(service: Service) -> None:
    model = service.model
    print(f"{model.name}, {len(model.classes)} classes, is at {service.url}", flush=True)
    print(f"try: curl --data-binary @image.jpg {service.url}/detect; Ctrl-C stops it", flush=True)
