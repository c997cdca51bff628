"""Inputs for readers of datasets, good and bad: made by a grammar, or by damaging such. Same key, same input."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Rng = np.random.Generator

NUMBERS = (
    "0", "1", "2", "0.5", "0.25", "-0.1", "1.0000001", "1e-9", "1e9", "1e999", "-0", "nan", "inf", "-Infinity", "0x1",
    "1_0", "1,5", "", "3.", ".5", "+1", "1e", "9" * 400, "٣", "true", "null", "16", "20", "1e-320",
)  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 16}, {"id": 2, "file_name": "b.png"}],
    "annotations": [
        {"id": 1, "image_id": 1, "category_id": 3, "bbox": [2, 3, 10, 8], "iscrowd": 0, "area": 80},
        {"id": 2, "image_id": 2, "category_id": 17, "bbox": [1, 1, 4.5, 4], "segmentation": [[1, 1, 5, 1, 5, 5]]},
        {"id": 3, "image_id": 2, "category_id": 3, "segmentation": {"size": [16, 20], "counts": "`03]9"}},
        {"id": 4, "image_id": 1, "category_id": 3, "segmentation": {"size": [16, 20], "counts": [16, 3, 301]}},
    ],
    "categories": [{"id": 3, "name": "cat"}, {"id": 17, "name": "dog"}],
}
VOC = (
    b"<?xml version='1.0' encoding='utf-8'?><annotation><filename>a.png</filename><size><width>20</width>"
    b"<height>16</height></size><object><name>cat</name><difficult>0</difficult><bndbox><xmin>2</xmin><ymin>3</ymin>"
    b"<xmax>12</xmax><ymax>11</ymax></bndbox></object><object><name>dog</name><bndbox><xmin>1</xmin></bndbox></object>"
    b"</annotation>"
)
YAMLS = (
    b"path: .\ntrain: images/train\nval: [b, c.txt]\nnc: 2\nnames: {0: cat, 1: dog}\n",
    b"format: coco\ntrain: {images: i, annotations: a.json}\nval: {images: i, annotations: a.json}\nnames: [cat, 2]\n",
    b"format: voc\ntrain: {images: i, annotations: a, list: l}\nval: {images: i, annotations: a}\ndifficult: use",
)
WORDS = (
    "a", "images", "x.txt", "coco", "voc", "yolo", "parquet", "visdrone", ".", "'cat'", "a*b", "/", "~", "é",
)  # fmt: skip
CSV = (
    b"filename,width,height,class,xmin,ymin,xmax,ymax\na.png,20,16,cat,2,3,12,11\nb.png,,,dog,1,1,5,5\r\nb.png,,,,,,,\n"
)
CVAT = (
    b"<?xml version='1.0' encoding='utf-8'?><annotations><meta><task><labels><label><name>cat</name></label></labels>"
    b"</task></meta><image name='a.png' width='20' height='16'><box label='cat' xtl='2' ytl='3' xbr='12' ybr='11'/>"
    b"<polygon label='cat' points='1,1;5,1;5,5'/></image><image name='b.png'><ellipse label='cat' cx='5' cy='5' rx='3'"
    b" ry='2' rotation='30'/><tag label='cat'/></image></annotations>"
)
LABELME = {
    "shapes": [
        {"label": "cat", "points": [[2, 3], [12, 11]], "shape_type": "rectangle", "group_id": None},
        {"label": "dog", "points": [[1, 1], [5, 1], [5, 5]], "shape_type": "polygon", "group_id": 1},
        {"label": "dog", "points": [[9, 9], [9, 12]], "shape_type": "circle", "group_id": 1},
    ],
    "imagePath": "a.png", "imageWidth": 20, "imageHeight": 16,
}  # fmt: skip
TASKS = [
    {
        "data": {"image": "/data/upload/1/0a1b2c3d-a.png"},
        "annotations": [
            {"result": [{"type": "rectanglelabels", "original_width": 20, "original_height": 16, "id": "r",
                         "value": {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 5,
                                   "rectanglelabels": ["cat"]}}]},
            {"result": [{"value": {"points": [[1, 1], [50, 1], [50, 50]], "polygonlabels": ["dog"]}}]},
        ],
    },
    {"image": "b.png", "label": [{"x": 5, "y": 5, "radiusX": 3, "radiusY": 2, "ellipselabels": ["cat"]}]},
]  # fmt: skip
VISDRONE = b"2,3,10,8,1,4,0,0\n0,0,9,9,0,0,0,0,\r\n\t1, 1,5,5,1,11,0,1\n5,5,30,4,1,10,1,2\n"
LABELS = b"0 0.5 0.5 0.2 0.1\n1 0.1 0.2 0.5 0.2 0.5 0.8\r\n\t2 0.9 0.5 0.4 0.5 \n"
LIST = "a.png\n./b c.jpg\n/data/x.png -1\n\n../e\tf.png\r\né.png\n".encode()
TOKENS: dict[str, tuple[bytes, ...]] = {
    "labels": (b"\n", b" ", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\x85", b"nan ", b"1e5 ", b"0 0.5 0.5 0.1 0.1\n"),
    "list": (b"\n", b"./", b"../", b"\\", b"/", b"\xff\xfe", b"a" * 300, b"  ", b"://", b"\x1b[31m"),
    "yaml": (
        b"\n", b": ", b"- ", b"[", b"]", b"{", b"}", b"&a ", b"*a", b"!!python/object:os.system ", b"'", b"\"", b"# ",
        b"\t", b"? ", b"| ", b"<<: ", b"names: ", b"format: voc\n", b"~", b"yes", b"---\n", b"\xff", b"[[[[[[[[[[",
        b"train: x\n", b"val: y\n", b"difficult: use\n", b"path: /", b"download: x\n", b"1e400", b"0b1", b"1:30",
    ),
    "coco": (
        b"[", b"]", b"{", b"}", b",", b":", b"null", b"NaN", b"-Infinity", b"1e999", b"\"", b"\\ud800", b"\\u0000",
        b"\xff", b"\"image_id\":1,", b"\"bbox\":[1,2,3,4],", b"[[[[[[[[[[[[[[[[[[[[", b"true", b"-1", b"\"\"",
        b"9" * 60, b"\"counts\":\"oooo\"", b"\"segmentation\":[[]],", b"\"id\":{}", b"\"file_name\":\"/\"",
    ),
    "visdrone": (
        b"\n", b",", b",,", b"\t", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xfe\xff", b"nan,", b"1e400,",
        b"1,2,3,4,1,5,0,0\n",
    ),
    "csv": (b"\n", b",", b"\"", b"\r", b"\0", b"\xff", b"nan,", b"1e400,", b"a.png,,,cat,1,2,3,4\n", b"filename,",
            b";"),
    "labelme": (
        b"[", b"]", b"{", b"}", b",", b":", b"null", b"NaN", b"1e999", b"\"", b"\\ud800", b"\xff", b"[[[[[[[[",
        b"9" * 60, b"\"shape_type\":\"mask\",", b"\"group_id\":1,", b"true",
    ),
    "labelstudio": (
        b"[", b"]", b"{", b"}", b",", b":", b"null", b"NaN", b"1e999", b"\"", b"\\ud800", b"\xff", b"[[[[[[[[",
        b"9" * 60, b"\"rotation\":1e308,",
        b"\"rle\":[],", b"\"image\":\"http://[x/?d=a.png\",", b"\"was_cancelled\":true,",
    ),
    "cvat": (
        b"<", b">", b"</image>", b"<image name='b.png'>", b"<box label='cat'/>", b"&b;", b"<!DOCTYPE a [", b"]>",
        b"<!ENTITY b SYSTEM 'file:///etc/passwd'>", b"<![CDATA[", b"\xff", b"\0", b"nan", b"<a b='c'>", b"<track/>",
        b"points=''", b"rotation='1e308' ", b"width='9999999999' ", b"<skeleton><points/></skeleton>", b"<meta>",
    ),
    "voc": (
        b"<", b">", b"</object>", b"<object>", b"<name>", b"&lt;", b"&#0;", b"&#x110000;", b"&b;", b"<!DOCTYPE a [",
        b"]>", b"<!ENTITY b SYSTEM 'file:///etc/passwd'>", b"<![CDATA[", b"]]>", b"<!--", b"<?x ?>", b"\xff", b"\0",
        b"nan", b"<a b='c'>", b"<annotation>", b"<width>0</width>", b"<xmin>", b"</xmin>", b"1e400", b"xmlns:a='b'",
    ),
}  # fmt: skip


def make_input(kind: str, number: int) -> bytes:
    """Input `number` for the reader of `kind`, a key of `GRAMMARS`."""
    rng = np.random.Generator(np.random.Philox(key=number, counter=sorted(TOKENS).index(kind)))
    made = GRAMMARS[kind](rng)
    return made if rng.random() < 0.5 else damaged(made, rng, TOKENS[kind])


def damaged(data: bytes, rng: Rng, tokens: Sequence[bytes]) -> bytes:
    """`data` after one to four changes: bytes flipped, cut, doubled or moved, words put in."""
    for _ in range(int(rng.integers(1, 5))):
        start, stop = np.sort(rng.integers(0, len(data) + 1, 2)).tolist()
        stop = min(stop, start + 40)
        way = int(rng.integers(6))
        if way == 0 and data:
            place = min(start, len(data) - 1)
            data = data[:place] + bytes([data[place] ^ (1 << int(rng.integers(8)))]) + data[place + 1 :]
        elif way == 1:
            data = data[:start] + data[stop:]
        elif way == 2:
            data = data[:stop] + data[start:stop] * int(rng.integers(1, 4)) + data[stop:]
        elif way == 3:
            data = data[:start]
        else:
            data = data[:start] + tokens[int(rng.integers(len(tokens)))] + data[stop if way == 4 else start :]
    return data


def _pick(rng: Rng, values: Sequence[Any]) -> Any:
    return values[int(rng.integers(len(values)))]


def _labels(rng: Rng) -> bytes:
    if rng.random() < 0.3:
        return LABELS
    lengths = rng.choice([0, 1, 4, 5, 5, 5, 6, 7, 8, 9, 11], int(rng.integers(0, 5)))
    rows = (" ".join(_pick(rng, NUMBERS) for _ in range(length)) for length in lengths)
    return "\n".join(rows).encode()


def _visdrone(rng: Rng) -> bytes:
    if rng.random() < 0.3:
        return VISDRONE
    lengths = rng.choice([0, 1, 7, 8, 8, 8, 8, 9, 10], int(rng.integers(0, 5)))
    rows = (",".join(_pick(rng, NUMBERS) for _ in range(length)) for length in lengths)
    return "\n".join(rows).encode()


def _list(rng: Rng) -> bytes:
    return LIST * int(rng.integers(0, 3))


def _yaml(rng: Rng) -> bytes:
    if rng.random() < 0.4:
        return bytes(_pick(rng, YAMLS))
    lines = []
    for key in ("path", "format", "train", "val", "test", "nc", "names", "difficult", "download", "extra"):
        if rng.random() < 0.6:
            lines.append(f"{key}: {_yaml_value(rng, 0)}\n")
    return "".join(lines).encode()


def _yaml_value(rng: Rng, depth: int) -> str:
    way = int(rng.integers(8 if depth < 3 else 5))
    if way < 3:
        return str(_pick(rng, WORDS))
    if way < 5:
        return str(_pick(rng, NUMBERS))
    inner = [_yaml_value(rng, depth + 1) for _ in range(int(rng.integers(0, 4)))]
    if way == 5:
        return f"[{', '.join(inner)}]"
    keys = ("images", "annotations", "list", "0", "1", "-1", "a", "[b]")
    return "{" + ", ".join(f"{_pick(rng, keys)}: {value}" for value in inner) + "}"


def _json_value(rng: Rng, depth: int = 0) -> Any:
    way = int(rng.integers(9 if depth < 3 else 7))
    if way < 7:
        return (None, True, int(rng.integers(-2, 25)), float(rng.normal() * 10), "cat", float("nan"), 10**30)[way]
    inner = [_json_value(rng, depth + 1) for _ in range(int(rng.integers(0, 5)))]
    return inner if way == 7 else {str(number): value for number, value in enumerate(inner)}


def _coco(rng: Rng) -> bytes:
    content = json.loads(_COCO_TEXT)
    for _ in range(int(rng.integers(0, 4))):
        entries = content[_pick(rng, ("images", "annotations", "annotations", "categories"))]
        if not isinstance(entries, list) or not entries:
            continue
        entry = _pick(rng, entries)
        if isinstance(entry, dict) and rng.random() < 0.9:
            key = _pick(rng, sorted(entry) or ["id"])
            entry[key] = _json_value(rng)
        else:
            entries[int(rng.integers(len(entries)))] = _json_value(rng)
    return json.dumps(content).encode()


def _voc(rng: Rng) -> bytes:
    if rng.random() < 0.5:
        return VOC
    tags = ("object", "name", "bndbox", "xmin", "ymin", "xmax", "ymax", "size", "width", "height", "difficult", "part")

    def element(depth: int) -> str:
        if depth > 4 or rng.random() < 0.3:
            return str(_pick(rng, NUMBERS))
        tag = _pick(rng, tags)
        return f"<{tag}>{''.join(element(depth + 1) for _ in range(int(rng.integers(0, 4))))}</{tag}>"

    return f"<annotation>{''.join(element(0) for _ in range(int(rng.integers(0, 5))))}</annotation>".encode()


def _changed(content: Any, rng: Rng) -> Any:
    """JSON with up to three of its values, anywhere, replaced by others."""
    content = json.loads(json.dumps(content))
    for _ in range(int(rng.integers(0, 4))):
        place = content
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            if not keys:
                break
            key = _pick(rng, keys)
            if isinstance(place[key], dict | list) and rng.random() < 0.8:
                place = place[key]
                continue
            place[key] = _json_value(rng)
            break
    return content


_COCO_TEXT = json.dumps(COCO)
GRAMMARS: dict[str, Callable[[Rng], bytes]] = {
    "labels": _labels, "list": _list, "yaml": _yaml, "coco": _coco, "voc": _voc, "visdrone": _visdrone,
    "csv": lambda rng: CSV,
    "cvat": lambda rng: CVAT,
    "labelme": lambda rng: json.dumps(_changed(LABELME, rng)).encode(),
    "labelstudio": lambda rng: json.dumps(_changed(TASKS, rng)).encode(),
}  # fmt: skip
