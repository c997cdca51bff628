"""The `onelook` command: finds the sub-command, runs it, and turns what goes wrong into a message and an exit code."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import version

from onelook.cli.command_result import JSON_HELP, JSON_OPTION, CommandResult
from onelook.cli.commands import COMMANDS
from onelook.cli.habits import corrected_command, corrected_options
from onelook.cli.messages import is_main_process, messages, report
from onelook.cli.parser import Parser
from onelook.errors import EXIT_UNREAD, UsageError, explained
from onelook.processes.launch_env import stop_with_launcher
from onelook.processes.stop_signal import StopSignal, ignore_signals_at_exit, keep_exit_code
from onelook.settings.nearest_name import nearest_name


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line `arguments`; the exit code. Without them: those of the process, which is to end then."""
    if arguments is not None:
        return _run(arguments)
    _open_missing_streams()
    ignore_signals_at_exit()
    with StopSignal(at_once=True):
        stop_with_launcher()
        code = _run(sys.argv[1:])
    keep_exit_code(code)
    return code


def _open_missing_streams() -> None:
    """Where a service or a shell has closed a standard stream, Python has None, and the next file takes its number."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(os.devnull, os.O_RDWR)
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _run(typed: Sequence[str]) -> int:
    code = EXIT_UNREAD
    with messages():
        try:
            code = _run_for_program(typed) if JSON_OPTION in typed else _ended(_dispatch(list(typed)))
            sys.stdout.flush()
            return code
        except (BrokenPipeError, SystemExit) as problem:  # the reader has closed our output: the rest is not done
            if isinstance(problem, SystemExit) and not isinstance(problem.__context__, BrokenPipeError):
                raise  # rich makes such an exit of the error
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return code
        except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - the last one: nothing may end as a traceback
            return report(problem)


def _run_for_program(typed: Sequence[str]) -> int:
    """Run with one JSON document on standard output, whatever happens; the exit code."""
    from onelook.cli.json_output import json_text, output_on_stderr

    with output_on_stderr():
        try:
            result = _dispatch(list(typed))
        except (Exception, KeyboardInterrupt) as problem:  # noqa: BLE001 - it goes into the document
            result = CommandResult(problem=problem)
        code = _ended(result)
    if is_main_process():
        print(json_text(result.value, {"exit_code": 0} if result.problem is None else explained(result.problem)))
    return code


def _ended(result: CommandResult) -> int:
    return 0 if result.problem is None else report(result.problem)


def _dispatch(typed: list[str]) -> CommandResult:
    parser = Parser(
        prog="onelook",
        description="Train, validate and run object detectors.",
        epilog="`onelook COMMAND --help` lists the options of a command.",
    )
    parser.add_argument("--version", action="store_true", help="show the version and exit")
    parser.add_argument(JSON_OPTION, action="store_true", help=JSON_HELP)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    wanted = next((word for word in typed if not word.startswith("-")), None)
    foreign = corrected_command(typed, COMMANDS)
    if foreign is not None:
        raise foreign
    if wanted is not None and wanted not in COMMANDS:
        raise UsageError(f"unknown command `{wanted}`", hint=nearest_name(wanted, COMMANDS))
    active = parser
    for name, command in COMMANDS.items():
        subparser = commands.add_parser(
            name,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.",
            example=command.example,
            common=command.common,
        )
        if name == wanted:
            from onelook.cli.arguments import ARGUMENTS

            active = subparser
            ARGUMENTS[name](active)
            active.add_argument(JSON_OPTION, action="store_true", default=argparse.SUPPRESS, help=JSON_HELP)
    if wanted is not None:
        foreign = corrected_options(wanted, typed[typed.index(wanted) + 1 :], active.options, active.positionals)
        if foreign is not None:
            raise foreign
    try:
        parsed, unknown = parser.parse_known_args(typed)
    except SystemExit:  # --help
        return CommandResult({"help": active.format_all_help()})
    if unknown:
        active.refuse(unknown)
    if parsed.version:
        print(f"onelook {version('onelook')}")
        return CommandResult({"version": version("onelook")})
    if parsed.command is None:
        parser.print_help()
        return CommandResult({"help": parser.format_help()})
    # Only now, and of this command alone, since torch takes seconds.
    result = import_module(f"onelook.cli.{parsed.command.replace('-', '_')}").run(parsed)
    assert isinstance(result, CommandResult)
    return result
