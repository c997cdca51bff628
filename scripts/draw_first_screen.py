"""Draw the image at the top of the README: an image with detections, and the report of the run that learnt them.

    python scripts/draw_first_screen.py --run runs/train/exp --image bees.jpg --output docs/images/first-screen.webp

The run needs its `report.html`; the screenshot of the page is taken by the Chromium that is installed.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np

import onelook

HEIGHT, GAP = 560, 16
PAGE_HW = (1120, 1280)
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


def main() -> None:
    """Detect, take the screenshot and join."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--image", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="a .webp file")
    arguments = parser.parse_args()
    detections = onelook.load(arguments.run / "weights/best.safetensors")(arguments.image)
    parts = [cv2.cvtColor(detections.plot(), cv2.COLOR_RGB2BGR), screenshot(arguments.run / "report.html")]
    parts = [cv2.resize(part, (part.shape[1] * HEIGHT // part.shape[0], HEIGHT), interpolation=cv2.INTER_AREA)
             for part in parts]  # fmt: skip
    gap = np.full((HEIGHT, GAP, 3), 255, np.uint8)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(arguments.output), np.hstack([parts[0], gap, parts[1]]), [cv2.IMWRITE_WEBP_QUALITY, 80])


def screenshot(page: Path) -> np.ndarray:
    """(H, W, 3) uint8 BGR: the first screen of a page.

    Raises:
        SystemExit: no Chromium is installed.
    """
    program = next((path for name in CHROMIUM if (path := shutil.which(name))), None)
    if program is None:
        raise SystemExit(f"none of {', '.join(CHROMIUM)} is installed")
    with tempfile.TemporaryDirectory() as folder:
        shot = Path(folder) / "page.png"
        height, width = PAGE_HW
        subprocess.run(
            [program, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
             f"--window-size={width},{height}", f"--screenshot={shot}", page.resolve().as_uri()],
            check=True, capture_output=True, timeout=120,
        )  # fmt: skip
        return cv2.imread(str(shot))


if __name__ == "__main__":
    main()
