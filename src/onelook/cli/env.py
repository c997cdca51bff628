"""`onelook env`: versions and machine, to paste into a report of a problem."""

from __future__ import annotations

import argparse

from onelook.callbacks.installation import installed_version, required_packages, unmet_requirements
from onelook.callbacks.run_facts import environment
from onelook.cli.command_result import CommandResult
from onelook.processes.device import describe_device, select_device


def run(arguments: argparse.Namespace) -> CommandResult:
    """Print a line for each thing, then what does not fit."""
    found = environment(describe_device(select_device(""), 1))
    packages = {package: installed_version(package) for package in sorted(required_packages(extras=True))}
    found |= {package: number for package, number in packages.items() if number and package not in found}
    for name, value in found.items():
        print(f"{name}: {value}")
    problems = list(unmet_requirements())
    for problem in problems:
        print(f"problem: {problem}")
    return CommandResult({**found, "problems": problems})
