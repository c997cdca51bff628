"""Any dataset at all: the account of its scan adds up, and the cache gives the same account."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from onelook.data.dataset_spec import DatasetSpec
from onelook.data.scan.index import scan_split
from onelook.data.scan.rules import ScanOptions
from onelook.errors import DataError
from onelook.files.images import encode_image

IMAGE = encode_image(np.zeros((12, 12, 3), np.uint8), ".png")
OPTIONS = ScanOptions(allow_unlabelled=True)

rows = st.sampled_from(
    ["0 0.5 0.5 0.2 0.2", "1 0.5 0.5 0.2 0.2", "0 0.9 0.5 0.4 0.2", "0 0.1 0.1 0.5 0.1 0.5 0.5", "0 nan 1 1 1", "", "x"]
)
labels = st.none() | st.lists(rows, max_size=6).map("\n".join).map(str.encode) | st.binary(max_size=60)
images = st.sampled_from([IMAGE, IMAGE, IMAGE[:40], b""])


@given(files=st.lists(st.tuples(images, labels), min_size=1, max_size=5))
@settings(max_examples=60)
def test_account_of_any_dataset_adds_up(files: list[tuple[bytes, bytes | None]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for number, (image, label) in enumerate(files):
            (folder / f"{number}.png").write_bytes(image)
            if label is not None:
                (folder / f"{number}.txt").write_bytes(label)
        spec = DatasetSpec(folder / "data.yaml", folder, {"train": (folder,)}, ("cat", "dog"))
        try:
            result = scan_split(spec, "train", cache_folder=folder / "cache", options=OPTIONS)
        except DataError as problem:
            assert "no image can be used" in problem.message or "class ids" in problem.message
            return
        ledger = result.ledger
        ledger.check()
        assert ledger.images_listed == len(files)
        assert len(result.index) == ledger.images_listed - ledger.images_unusable
        assert len(result.index.class_ids) == ledger.rows_used
        again = scan_split(spec, "train", cache_folder=folder / "cache", options=OPTIONS)
        assert (again.from_cache, again.ledger, again.index.fingerprint) == (True, ledger, result.index.fingerprint)
