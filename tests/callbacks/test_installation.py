"""Versions against what is required, and the commit of a checkout, read without running anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from onelook.callbacks import installation
from onelook.callbacks.installation import checkout_commit, required_packages, unmet_requirements
from onelook.cli.main import main

SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("found", "problem"),
    [
        ("2.10.0+cpu", None),
        ("2.13", None),
        ("10.0", None),
        ("2.9.1", "Onelook needs torch 2.10 or newer; 2.9.1 is installed"),
        ("2.9.1rc1", "Onelook needs torch 2.10 or newer; 2.9.1rc1 is installed"),
        ("", "Onelook needs torch 2.10 or newer; it is not installed"),
    ],
)
def test_a_package_that_is_too_old_is_named(found: str, problem: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(installation, "_requirements", lambda: ("torch>=2.10", 'pandas>=2; extra == "results"'))
    monkeypatch.setattr(installation, "installed_version", lambda package: found)
    assert list(unmet_requirements()) == ([problem] if problem else [])
    assert required_packages(extras=True) == {"torch": "2.10", "pandas": "2"}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, ""),
        ({".git/HEAD": SHA}, SHA[:12]),
        ({".git/HEAD": "ref: refs/heads/main", ".git/refs/heads/main": SHA}, SHA[:12]),
        ({".git/HEAD": "ref: refs/heads/main", ".git/packed-refs": f"# pack\n{SHA} refs/heads/main\n"}, SHA[:12]),
        ({".git/HEAD": "ref: refs/heads/none"}, ""),
        ({".git/HEAD": "ref: ../../secret", "secret": "no commit"}, ""),
        (
            {
                ".git": "gitdir: other/worktrees/a",
                "other/worktrees/a/HEAD": "ref: refs/heads/a",
                "other/worktrees/a/commondir": "../..",
                "other/refs/heads/a": SHA,
            },
            SHA[:12],
        ),
    ],
)
def test_the_commit_of_a_checkout_is_read_from_its_files(files: dict[str, str], expected: str, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    assert checkout_commit(tmp_path) == expected


def test_env_shows_what_a_report_of_a_problem_needs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["env"]) == 0
    shown = dict(line.split(": ", 1) for line in capsys.readouterr().out.splitlines())
    assert {"device", "processors", "system", "python", "torch", "onelook", "numpy", "pydantic"} <= shown.keys()
