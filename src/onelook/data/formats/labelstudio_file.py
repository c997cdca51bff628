"""Label Studio's JSON, whole tasks (`JSON`) or their results only (`JSON_MIN`): regions in percent of the image."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from onelook.data.formats.label_rows import RowProblem
from onelook.data.formats.listing import (
    PERCENT,
    Corners,
    ListedImage,
    ListedObject,
    Listing,
    ellipse_points,
    json_of,
    name_problem,
    number_of,
    points_of,
    rectangle_points,
    size_of,
    turned,
)
from onelook.data.formats.object_rows import shown
from onelook.data.formats.row_rules import RefusedRow, Values
from onelook.data.image_files import IMAGE_SUFFIXES, suffix_of
from onelook.errors import DataError
from onelook.files.bounded import StrPath, printable, read_bounded

MAX_BYTES = 1 << 30
LABELS = ("rectanglelabels", "polygonlabels", "ellipselabels", "labels")
_WITHOUT_PLACE = ("choices", "rating", "textarea", "taxonomy", "number", "datetime", "pairwise", "ranker", "relation")


def read_labelstudio(path: StrPath) -> Listing:
    """The images and objects of an export of Label Studio; images are named, never fetched.

    Of several annotations of a task the first counts that was neither skipped nor cancelled, one with `ground_truth`
    before all others. Predictions do not count.

    Raises:
        DataError: it cannot be read or is no such export.
    """
    where = f"Label Studio file `{printable(path)}`"
    tasks = json_of(read_bounded(path, MAX_BYTES), where)
    if not isinstance(tasks, list):
        raise DataError(f"{where} is not a list of tasks; found {shown(tasks)}", hint="export it as `JSON`")
    images: list[ListedImage] = []
    lost: list[RowProblem] = []
    for number, task in enumerate(tasks):
        place = f"[{number}]"
        name = _image_of(task) if isinstance(task, dict) else None
        problem = name_problem(name) if name else "it names no image"
        if not isinstance(task, dict):
            problem = "not a task: not a JSON object"
        if problem:
            lost.append(RowProblem(0, shown(task), problem, "refused", place))
            continue
        things = list(_objects(task, place))
        images.append(ListedImage(str(name), _size_of(task), things))
    return Listing(tuple(images), (), tuple(lost))


def file_names(address: str) -> Iterator[str]:
    """Possible file names of an image, the most literal first: with its folders, without, and without upload prefix.

    >>> list(file_names("/data/upload/3/0a1b2c3d-bees.jpg"))
    ['data/upload/3/0a1b2c3d-bees.jpg', '0a1b2c3d-bees.jpg', 'bees.jpg']
    >>> list(file_names("/data/local-files/?d=hive/a%20b.jpg"))
    ['hive/a b.jpg', 'a b.jpg']
    """
    parts = urlsplit(address) if "://" in address or "?d=" in address else None
    inner = parse_qs(parts.query).get("d", [""])[0] if parts is not None else ""
    path = inner or (unquote(parts.path) if parts is not None else address)
    path = path.replace("\\", "/").lstrip("/")
    name = path.rpartition("/")[2]
    prefix, dash, rest = name.partition("-")
    is_upload = bool(dash and rest) and len(prefix) == 8 and all(c in "0123456789abcdef" for c in prefix)
    yield from dict.fromkeys([path, name, *([rest] if is_upload else [])])


def _image_of(task: Mapping[str, Any]) -> str | None:
    """The address of the image of a task: of `image`, or else the first that looks like one."""
    data = task.get("data") if isinstance(task.get("data"), dict) else task
    assert isinstance(data, Mapping)
    for value in (data.get("image"), *data.values()):
        if isinstance(value, str) and any(suffix_of(PurePosixPath(name).name) in IMAGE_SUFFIXES
                                          for name in _readings(value)):  # fmt: skip
            return value
    return data["image"] if isinstance(data.get("image"), str) else None


def _readings(address: str) -> list[str]:
    try:
        return list(file_names(address))
    except ValueError:  # no address
        return []


def _results(task: Mapping[str, Any], place: str) -> Iterator[tuple[str, Any, bool]]:
    """Place, region, and whether it counts, of all annotations of a task."""
    annotations = task.get("annotations", task.get("completions"))
    if isinstance(annotations, list):
        chosen = _chosen(annotations)
        for number, annotation in enumerate(annotations):
            results = annotation.get("result") if isinstance(annotation, dict) else None
            for position, result in enumerate(results if isinstance(results, list) else []):
                yield f"{place}.annotations[{number}].result[{position}]", result, number == chosen
        return
    for key, value in task.items():  # JSON_MIN: a list of regions under the name of each control
        if isinstance(value, list) and key not in ("predictions", "data"):
            for position, result in enumerate(value):
                yield f"{place}.{shown(key)}[{position}]", result, True


def _chosen(annotations: Sequence[Any]) -> int:
    usable = [
        number
        for number, annotation in enumerate(annotations)
        if isinstance(annotation, dict) and not annotation.get("was_cancelled") and not annotation.get("skipped")
    ]
    return next((number for number in usable if annotations[number].get("ground_truth")), next(iter(usable), -1))


def _size_of(task: Mapping[str, Any]) -> tuple[int, int]:
    """Height and width that the first region gives."""
    for _, result, counts in _results(task, ""):
        if counts and isinstance(result, dict):
            size_hw = size_of(result.get("original_width"), result.get("original_height"))
            if size_hw != (0, 0):
                return size_hw
    return 0, 0


def _objects(task: Mapping[str, Any], place: str) -> Iterator[ListedObject]:
    labelled = {
        result.get("id")
        for _, result, counts in _results(task, place)
        if counts and isinstance(result, dict) and isinstance(result.get("id"), str) and _labels_of(result)
    }
    for where, result, counts in _results(task, place):
        written = shown(result)
        try:
            if not isinstance(result, dict):
                raise RefusedRow("not a region: not a JSON object")
            if not counts:
                raise RefusedRow("from another annotation of the same image, or from a cancelled one", "ignored")
            if result.get("type") in _WITHOUT_PLACE:
                raise RefusedRow(f"`{result['type']}` describes the image as a whole", "ignored")
            labels = _labels_of(result)
            if not labels and result.get("id") in labelled:
                raise RefusedRow("the same region appears elsewhere with its label", "ignored")
            if len(labels) != 1:
                raise RefusedRow(f"{len(labels) or 'no'} labels; a region has one")
            yield ListedObject(where, written, labels[0], _shape_of(result), units_hw=PERCENT)
        except RefusedRow as problem:
            yield ListedObject(where, written, problem=problem)


def _value_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    value = result.get("value", result)  # of JSON_MIN, a region is its own value
    return value if isinstance(value, dict) else {}


def _labels_of(result: Mapping[str, Any]) -> list[str]:
    value = _value_of(result)
    found: list[Any] = next((value[key] for key in LABELS if isinstance(value.get(key), list)), [])
    return [label.strip() for label in found if isinstance(label, str) and label.strip()]


def _shape_of(result: Mapping[str, Any]) -> Corners | Values:
    """Corners or points of a region, in percent of the image."""
    value = _value_of(result)
    turn = number_of(result.get("image_rotation") or 0, "image_rotation") % 360
    if turn:
        raise RefusedRow(f"the image was turned by {turn:g} degrees: the box cannot be placed")
    if "points" in value:
        return points_of(value["points"], least=3)
    if "rle" in value or value.get("format") == "rle":
        raise RefusedRow("a brush mask, which is not read: export as COCO, or draw rectangles")
    x, y = number_of(value.get("x"), "x"), number_of(value.get("y"), "y")
    degrees = number_of(value.get("rotation") or 0, "rotation")
    if "radiusX" in value:
        radii = (number_of(value["radiusX"], "radiusX"), number_of(value.get("radiusY"), "radiusY"))
        points = ellipse_points((x, y), radii)
    elif "width" in value:
        width, height = number_of(value["width"], "width"), number_of(value.get("height"), "height")
        if degrees % 360 == 0:
            return x, y, x + width, y + height
        points = rectangle_points(x, y, x + width, y + height)
    else:
        raise RefusedRow("neither a rectangle, a polygon nor an ellipse: it has no box")
    return _turned_percent(points, (x, y), degrees, result) if degrees % 360 else points


def _turned_percent(points: Values, pivot: tuple[float, float], degrees: float, result: Mapping[str, Any]) -> Values:
    """Points in percent, turned as they were drawn: in pixels."""
    height, width = size_of(result.get("original_width"), result.get("original_height"))
    if not height:
        raise RefusedRow(f"turned by {degrees:g} degrees, and `original_width` and `original_height` are not given")
    scale = [width / 100, height / 100]
    pixels = turned(points * scale, (pivot[0] * scale[0], pivot[1] * scale[1]), degrees)
    return pixels / scale
