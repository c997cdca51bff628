"""Every planted fault is found, and no image is blamed for what was not planted in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from planted import EACH, PLANTERS, SOURCE, Patient, plant

from onelook.recipes.check import CheckResult, check


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Patient:
    return plant(tmp_path_factory.mktemp("patient") / "bccd")


def blamed(result: CheckResult) -> dict[str, set[str]]:
    """Kind -> stems of the files that are reported."""
    found: dict[str, set[str]] = {}
    for finding in result.diagnosis.findings:
        found.setdefault(finding.kind, set()).add(Path(finding.file).stem)
    return found


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """What the dataset has of its own; copies of its images have the same."""
    own = blamed(check({"data": SOURCE / "data.yaml"}))
    return {kind: {f"{copy}{stem}" for copy in ("", "y", "z") for stem in stems} for kind, stems in own.items()}


@pytest.fixture(scope="module")
def result(patient: Patient) -> CheckResult:
    return check({"data": patient.folder / "data.yaml"})


@pytest.mark.parametrize("kind", PLANTERS)
def test_all_planted_faults_of_a_kind_are_found_and_nobody_else_is_blamed(
    kind: str, patient: Patient, result: CheckResult, before: dict[str, set[str]]
) -> None:
    assert len(patient.faults[kind]) == EACH
    assert blamed(result).get(kind, set()) - before.get(kind, set()) == patient.faults[kind]


def test_nothing_else_is_found(patient: Patient, result: CheckResult, before: dict[str, set[str]]) -> None:
    for kind, stems in blamed(result).items():
        assert stems - before.get(kind, set()) == patient.faults.get(kind, set()), kind


def test_the_verdict_counts_what_was_found(result: CheckResult) -> None:
    assert "errors" in result.diagnosis.verdict and "fix the errors" in result.diagnosis.verdict
