"""The label formats that can be read."""

from __future__ import annotations

from onelook.data.formats.label_rows import LabelFormat
from onelook.data.formats.yolo import label_path_of, read_labels

FORMATS: dict[str, LabelFormat] = {"yolo": LabelFormat(label_path_of, read_labels)}
