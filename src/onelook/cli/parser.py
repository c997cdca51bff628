"""The reader of command lines: clear abbreviations, suggestions for misspelt options, our errors instead of exits."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from onelook.cli.command_result import JSON_OPTION
from onelook.errors import UsageError
from onelook.settings.foreign_names import EXPLAINED, plain_name

SIMILAR = 0.75
"""Minimum difflib ratio: with a lower one, suggestions have little in common with what was typed."""


class Parser(argparse.ArgumentParser):
    """Completes the beginning of an option if only one option begins so, and raises instead of exiting."""

    def __init__(self, *, example: str = "", common: str = "", **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)
        self._example, self._common = example, common.split()
        if self._common:
            self.add_argument("--help-all", action=_HelpAll, nargs=0, help="show all options and exit")

    def format_help(self) -> str:
        """One example first, then the options that people use."""
        common = ("help", "help_all", *self._common)
        rare = [action for action in self._actions if action.option_strings and action.dest not in common]
        hidden = rare if self._common else []
        helps = [action.help for action in hidden]
        for action in hidden:
            action.help = argparse.SUPPRESS
        try:
            text = self.format_all_help()
        finally:
            for action, help_text in zip(hidden, helps, strict=True):
                action.help = help_text
        return f"{text}\n`{self.prog} --help-all` shows {len(hidden)} more options.\n" if hidden else text

    def format_all_help(self) -> str:
        """One example first, then all options."""
        return (f"example: {self._example}\n\n" if self._example else "") + super().format_help()

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does it, with options completed first.

        Raises:
            UsageError: several options begin like one that was typed.
        """
        words = sys.argv[1:] if args is None else list(args)
        end = words.index("--") if "--" in words else len(words)
        return super().parse_known_args([*map(self._completed, words[:end]), *words[end:]], namespace)

    def _completed(self, word: str) -> str:
        """`--conf=0.3` as `--conf-thres=0.3`; every other word as it is."""
        name, sign, value = word.partition("=")
        known = self._option_string_actions
        if not name.startswith("--") or name in known or plain_name(name) in EXPLAINED:
            return word
        # of each option that begins so, one spelling
        options = {id(known[full]): full for full in reversed(known) if full.startswith(name) and full != JSON_OPTION}
        if len(options) > 1:
            shown = " or ".join(f"`{full}`" for full in sorted(options.values()))
            raise UsageError(f"{self.prog}: option `{name}` is short for {shown}", hint="type one of them in full")
        return f"{next(iter(options.values()))}{sign}{value}" if options else word

    def error(self, message: str) -> NoReturn:
        """Raise what argparse found.

        Raises:
            UsageError: always.
        """
        raise UsageError(f"{self.prog}: {message}", hint=f"`{self.prog} --help` lists the options")

    @property
    def options(self) -> list[str]:
        """Every spelling of every option."""
        return list(self._option_string_actions)

    @property
    def positionals(self) -> list[str]:
        """Names of the arguments that stand alone."""
        return [action.dest for action in self._actions if not action.option_strings]

    def refuse(self, unknown: Sequence[str]) -> NoReturn:
        """Raise for arguments that no option takes; `unknown` is what `parse_known_args` left over.

        Raises:
            UsageError: always.
        """
        options = [word.split("=")[0] for word in unknown if word.startswith("-")]
        if not options:
            self.error(f"unexpected argument `{unknown[0]}`")
        names = ", ".join(f"`{option}`" for option in options)
        problem = f"{self.prog}: unknown option{'s' if len(options) > 1 else ''} {names}"
        raise UsageError(problem, hint=self._hint(options))

    def _hint(self, options: Iterable[str]) -> str:
        known = list(self._option_string_actions)
        reasons = [EXPLAINED[name] for option in options if (name := plain_name(option)) in EXPLAINED]
        if reasons:
            return "; ".join(reasons)
        nearest = [
            near[0] for option in options if (near := difflib.get_close_matches(option, known, n=1, cutoff=SIMILAR))
        ]
        if not nearest:
            return f"`{self.prog} --help` lists the options"
        return f"did you mean {', '.join(f'`{name}`' for name in dict.fromkeys(nearest))}?"


class _HelpAll(argparse.Action):
    """Shows every option of a command, and ends."""

    def __call__(self, parser: argparse.ArgumentParser, *arguments: object) -> NoReturn:
        assert isinstance(parser, Parser)
        sys.stdout.write(parser.format_all_help())
        parser.exit()
