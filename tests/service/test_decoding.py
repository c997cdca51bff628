"""Decoding in another process: what is said when that ends."""

from __future__ import annotations

import resource
import sys

import pytest
from http_asking import png

from onelook.files.image_headers import DamagedImage
from onelook.service.decoding import Decoder


def test_decoder_has_a_process_from_its_first_image_on_and_none_once_it_is_closed() -> None:
    decoder = Decoder(30.0, 10_000)
    assert decoder._process is None
    assert decoder(png(20, 10, rows=10)).shape == (10, 20, 3)
    process = decoder.start()
    decoder.close()
    assert process.poll() is not None
    with pytest.raises(DamagedImage, match="the service has ended"):
        decoder(png(20, 10, rows=10))


@pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of another process")
def test_decoder_that_crashes_is_not_called_slow() -> None:
    decoder = Decoder(30.0, 10_000)
    try:
        assert decoder(png(20, 10, rows=10)).shape == (10, 20, 3)
        resource.prlimit(decoder.start().pid, resource.RLIMIT_AS, (1 << 20, 1 << 20))
        with pytest.raises(DamagedImage, match="the process that decoded it crashed"):
            decoder(bytes(8 << 20))
    finally:
        decoder.close()
