"""`onelook serve`: arguments to the recipe of the service."""

from __future__ import annotations

import argparse

from onelook.cli.command_result import CommandResult
from onelook.errors import counted
from onelook.recipes.serve import Service, serve
from onelook.settings.command_line import typed_options
from onelook.settings.serve import ServeSettings


def run(arguments: argparse.Namespace) -> CommandResult:
    """Serve until a signal comes."""
    done = serve(typed_options(arguments, ServeSettings), file=arguments.settings, on_start=_announce)
    print(
        f"stopped: {counted(done.answered, 'image')} answered; requests: {done.refused} refused, {done.failed} failed"
    )
    return CommandResult(done.model_dump(include={"answered", "refused", "failed", "left"}))


def _announce(service: Service) -> None:
    model = service.model
    print(f"{model.name}, {counted(len(model.classes), 'class')}, is at {service.url}", flush=True)
    print(f"try: curl --data-binary @image.jpg {service.url}/detect; Ctrl-C stops it", flush=True)
