"""Train a detector of blood cells on a small dataset, measure it, and run it on images it was not trained on.

python examples/demo.py
"""

import argparse
import sys
from pathlib import Path

import onelook

DATA = Path(__file__).parent / "bccd"
EPOCHS = 22
IMGSZ = 224
ROW = "{:<12}{:>8}{:>8}{:>8}{:>8}{:>8}{:>10}"


def main() -> None:
    """Train, print what the detector is worth class by class, and draw what it finds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=EPOCHS, help="passes over the 160 training images")
    parser.add_argument("--project", type=Path, default=Path("runs"), help="where the run folder goes")
    arguments = parser.parse_args()

    result = onelook.train(
        DATA / "data.yaml",
        cfg="yolov5n",
        epochs=arguments.epochs,
        imgsz=IMGSZ,
        project=arguments.project,
        name="demo",
    )
    print_table(result.metrics, result.names)
    found = onelook.detect(result.best, DATA / "images" / "val", imgsz=IMGSZ, project=result.run_folder, name="found")
    cells = sum(len(frame.detections) for frame in found.frames)
    print(f"{cells} cells in {len(found.frames)} images; see {sorted(found.run_folder.glob('*.jpg'))[0]}")
    print(f"the report of the run: {result.run_folder / 'report.html'}")


def print_table(metrics: onelook.DetectionMetrics, names: tuple[str, ...]) -> None:
    """Print precision, recall, F1 and average precision, first of all classes together."""
    print(ROW.format("class", "labels", "P", "R", "F1", "mAP50", "mAP50-95"))
    means = metrics.precision, metrics.recall, metrics.f1, metrics.map50, metrics.map50_95
    print(ROW.format("all", metrics.num_labels, *(f"{mean:.3f}" for mean in means)))
    columns = metrics.class_precision, metrics.class_recall, metrics.class_f1, metrics.class_ap50, metrics.class_ap
    for row, class_id in enumerate(metrics.class_ids):
        values = (f"{column[row]:.3f}" for column in columns)
        print(ROW.format(names[class_id], metrics.class_num_labels[row], *values))


if __name__ == "__main__":
    try:
        main()
    except onelook.OnelookError as problem:  # stopped by Ctrl-C, too: one line, no traceback
        sys.exit(str(problem))
