"""The report beside an export: what was made from what, and how far it is from the model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from onelook.exports.formats import EXPORTERS
from onelook.exports.parity import TOLERANCES, Case
from onelook.exports.plan import ExportPlan
from onelook.files.bounded import sha256_of
from onelook.settings.export import ExportSettings
from onelook.training.weights import located

DISTRIBUTIONS = {"litert_torch": "litert-torch", "ai_edge_litert": "ai-edge-litert"}


@dataclass(frozen=True)
class MapComparison:
    """mAP50-95 of a model and of its export, 0 to 1, and the number of images that it was measured on."""

    model: float
    export: float
    num_images: int

    @property
    def loss_points(self) -> float:
        """What the export loses, in points of 100; negative if it is better."""
        return 100 * (self.model - self.export)


@dataclass(frozen=True)
class Checks:
    """How far an export is from the model.

    Attributes:
        cases: comparisons of all boxes; none if the export cannot run on this machine.
        map_comparison: mean average precision before and after; None without data.
    """

    cases: tuple[Case, ...] = ()
    map_comparison: MapComparison | None = None

    def problems(self, precision: str, max_loss: float) -> list[str]:
        """What is not within the tolerance of a precision, or above the largest loss of mAP50-95, in points."""
        found = [
            f"images {case.shape}: boxes {case.box_px:.3g} px apart, scores {case.score:.2g}, {case.unpaired} unpaired"
            for case in self.cases
            if not case.is_within(TOLERANCES[precision])
        ]
        if self.map_comparison is not None and self.map_comparison.loss_points > max_loss:
            found.append(f"mAP50-95 falls by {self.map_comparison.loss_points:.2f} points")
        return found


def report_path(target: Path) -> Path:
    """The report of the export `target`."""
    return target.with_name(f"{target.name}.report.json")


def report_of(
    plan: ExportPlan, settings: ExportSettings, *, format_name: str, made: Path, checks: Checks
) -> dict[str, Any]:
    """The report as plain values."""
    files = sorted(item for item in made.rglob("*") if item.is_file()) if made.is_dir() else [made]
    problems = checks.problems(plan.metadata.precision, settings.max_loss)
    tolerance, compared = TOLERANCES[plan.metadata.precision], checks.map_comparison
    packages = ("torch", *EXPORTERS[format_name].makers, *EXPORTERS[format_name].runners)
    return {
        "format": format_name,
        "files": [
            {
                "name": path.relative_to(made.parent).as_posix(),
                "bytes": path.stat().st_size,
                "sha256": sha256_of(path),
            }
            for path in files
        ],
        "weights": {"name": settings.weights.name, "sha256": sha256_of(located(settings.weights))},
        "metadata": plan.metadata.as_dict(),
        "passed": not problems if checks.cases else None,
        "problems": problems,
        "tolerance": asdict(tolerance) if tolerance is not None else None,
        "comparisons": [asdict(case) for case in checks.cases],
        "map50_95": None
        if compared is None
        else {
            "model": compared.model,
            "export": compared.export,
            "loss_points": compared.loss_points,
            "largest_loss_points": settings.max_loss,
            "images": compared.num_images,
        },
        "versions": {package: _version(package) for package in dict.fromkeys(packages)},
    }


def _version(package: str) -> str:
    try:
        return version(DISTRIBUTIONS.get(package, package))
    except PackageNotFoundError:  # another build, such as onnxruntime-gpu
        return "unknown"
