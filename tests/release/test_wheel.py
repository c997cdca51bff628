"""What is shipped: the source distribution and the wheel made of it run in an environment without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tarfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
NEEDED_TO_BUILD = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "NOTICE", "src")
# Without -S, the environment of the tests would find its own installation of the checkout.
PYTHON = (sys.executable, "-S")


def run(*words: object, folder: Path, packages: Path | None = None) -> str:
    """What a program prints that must succeed, with `packages` before the packages of these tests."""
    path = os.pathsep.join([str(packages), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path if packages else ""}
    ended = subprocess.run(
        list(map(str, words)), cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with both, made from a copy, since a build writes beside what it builds."""
    folder = tmp_path_factory.mktemp("build")
    for name in NEEDED_TO_BUILD:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.egg-info", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    # the wheel is made from the source distribution, so that has all that a build needs
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", folder, folder=folder)
    return folder / "dist"


@pytest.mark.slow
def test_the_wheel_checks_a_dataset_and_trains_without_the_checkout(
    distributions: Path, tiny_data: Path, tiny_model: Path, tmp_path: Path
) -> None:
    (wheel,) = distributions.glob("*.whl")
    packages = tmp_path / "packages"
    pip = (sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--target", packages, wheel)
    run(*pip, folder=tmp_path)
    where = run(*PYTHON, "-c", "import onelook; print(onelook.__file__)", folder=tmp_path, packages=packages)
    assert Path(where.strip()).is_relative_to(packages)
    program = packages / "bin" / "onelook"
    assert "ready for training" in run(*PYTHON, program, "check", tiny_data, folder=tmp_path, packages=packages)
    small = ("--cfg", tiny_model, "--epochs", 1, "--imgsz", 64, "--batch-size", 8, "--workers", 0, "--device", "cpu")
    run(*PYTHON, program, "train", "--data", tiny_data, *small, folder=tmp_path, packages=packages)
    assert {"report.html", "results.csv", "weights"} <= {path.name for path in tmp_path.glob("runs/train/exp/*")}


@pytest.mark.slow
def test_the_source_distribution_holds_every_file_of_the_package_and_no_more(distributions: Path) -> None:
    (path,) = distributions.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        files = {member.name.partition("/")[2] for member in archive if member.isfile()}
    package = {
        str(file.relative_to(ROOT))
        for file in (ROOT / "src" / "onelook").rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    made = {"PKG-INFO", "setup.cfg"} | {name for name in files if ".egg-info/" in name}
    assert files - made == package | (set(NEEDED_TO_BUILD) - {"src"})
