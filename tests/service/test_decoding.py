"""Decoding in another process: what is said when that ends."""

from __future__ import annotations

import resource
import sys

import pytest
from http_asking import png

from onelook.files.image_headers import DamagedImage
from onelook.service.decoding import Decoder


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of another process")
def test_decoder_that_crashes_is_not_called_slow() -> None:
    decoder = Decoder(30.0, 10_000)
    try:
        assert decoder(png(20, 10, rows=10)).shape == (10, 20, 3)
        resource.prlimit(decoder._process.pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with pytest.raises(DamagedImage, match="the process that decoded it crashed"):
            decoder(bytes(8 << 20))
    finally:
        decoder.close()
