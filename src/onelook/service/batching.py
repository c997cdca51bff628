"""Batches of images from different requests.

Several threads decode, one runs the network. An image waits a few milliseconds for others to share its batch. The
pixels that are decoded at a time are limited, whatever is uploaded.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field

from onelook.files.images import Image
from onelook.structures.detections import Detections

Predict = Callable[[Sequence[Image]], Sequence[Detections]]
Decode = Callable[[bytes], Image]
STALL_SECONDS = 60.0
"""A batch that takes longer means that the network hangs."""
CHECK_SECONDS = 1.0
"""How often whoever waits for the network sees whether it hangs."""


@dataclass(frozen=True)
class ImageAnswer:
    """The detections in an image, and where the time went.

    Attributes:
        detections: highest score first.
        wait_ms: waiting for a decoder and for the network.
        predict_ms: the network and NMS on the whole batch.
    """

    detections: Detections
    size_hw: tuple[int, int]
    decode_ms: float
    wait_ms: float
    predict_ms: float
    batch: int


@dataclass
class _Image:
    data: bytes
    pixels: int
    predict: Predict
    answer: Future[ImageAnswer] = field(default_factory=Future)
    begun: float = field(default_factory=time.perf_counter)
    decode_seconds: float = 0.0
    image: Image | None = None


class Batcher:
    """Predicts on images in batches.

    Args:
        predict: detections of (H, W, 3) uint8 RGB images; called in one thread only.
        batch_size: maximum number of images in a batch.
        wait_seconds: how long a decoded image waits for others.
        max_pixels: maximum number of pixels that are decoded and not yet predicted; a single image may have more.
        decoders: one for each decoding thread; the last is asked first, and others only while it is busy.

    Attributes:
        seconds_per_image: moving average of the network's time; 0 before the first image.
    """

    def __init__(
        self,
        predict: Predict,
        *,
        batch_size: int,
        wait_seconds: float,
        max_pixels: int,
        decoders: Sequence[Decode],
    ) -> None:
        self.seconds_per_image = 0.0
        self._predict = predict
        self._batch_size = batch_size
        self._wait_seconds = wait_seconds
        self._max_pixels = max_pixels
        self._ready: deque[_Image] = deque()
        self._pixels = 0
        self._closing = False
        self._is_stopping = False
        self._changed = threading.Condition()
        self._busy_since = 0.0
        self._free: queue.LifoQueue[Decode] = queue.LifoQueue()
        for decoder in decoders:
            self._free.put(decoder)
        self._decoders = ThreadPoolExecutor(max_workers=len(decoders), thread_name_prefix="onelook-decode")
        self._thread = threading.Thread(target=self._predict_batches, name="onelook-predict", daemon=True)
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """False once the network has ended, or hangs in a batch."""
        since = self._busy_since
        return self._thread.is_alive() and not (since and time.perf_counter() - since > STALL_SECONDS)

    def submit(self, data: bytes, pixels: int, predict: Predict | None = None) -> Future[ImageAnswer]:
        """Queue an image; the future raises `DamagedImage` if it cannot be decoded.

        Args:
            pixels: number of pixels according to its header.
            predict: replaces the batcher's own; images with the same one share a batch.
        """
        image = _Image(data, pixels, predict or self._predict)
        self._decoders.submit(self._decode, image)
        return image.answer

    def close(self) -> None:
        """Finish all images that were submitted, then stop; of a network that hangs, give them up."""
        self._is_stopping = True
        self._decoders.shutdown(wait=True)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        while self.is_alive:
            self._thread.join(CHECK_SECONDS)

    def _decode(self, image: _Image) -> None:
        if not image.answer.set_running_or_notify_cancel():
            return
        with self._changed:
            while not self._changed.wait_for(
                lambda: not self._pixels or self._pixels + image.pixels <= self._max_pixels, timeout=CHECK_SECONDS
            ):
                if self._is_stopping and not self.is_alive:
                    image.answer.set_exception(TimeoutError("the service stops, and the network has not answered"))
                    return
            self._pixels += image.pixels
        mark = time.perf_counter()
        try:
            image.image = self._decoded(image.data)
        except Exception as problem:  # noqa: BLE001 - it belongs to this image, whatever it is
            self._release(image)
            image.answer.set_exception(problem)
            return
        image.data = b""
        image.decode_seconds = time.perf_counter() - mark
        with self._changed:
            self._ready.append(image)
            self._changed.notify_all()

    def _decoded(self, data: bytes) -> Image:
        decoder = self._free.get()
        try:
            return decoder(data)
        finally:
            self._free.put(decoder)

    def _predict_batches(self) -> None:
        while batch := self._next_batch():
            self._busy_since = time.perf_counter()
            for predict in dict.fromkeys(image.predict for image in batch):
                self._answer([image for image in batch if image.predict == predict])
            self._busy_since = 0.0

    def _next_batch(self) -> list[_Image]:
        """The next decoded images; none once the batcher is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._closing)
            self._changed.wait_for(
                lambda: len(self._ready) >= self._batch_size or self._closing, timeout=self._wait_seconds
            )
            return [self._ready.popleft() for _ in range(min(self._batch_size, len(self._ready)))]

    def _answer(self, batch: list[_Image]) -> None:
        mark = time.perf_counter()
        try:
            found = batch[0].predict([image.image for image in batch if image.image is not None])
        except Exception as problem:  # noqa: BLE001 - it belongs to these images, whatever it is
            if len(batch) > 1:  # one of them may be to blame
                for image in batch:
                    self._answer([image])
                return
            self._release(batch[0])
            batch[0].answer.set_exception(problem)
            return
        seconds = time.perf_counter() - mark
        lately = self.seconds_per_image or seconds / len(batch)
        self.seconds_per_image = 0.8 * lately + 0.2 * seconds / len(batch)
        for image, detections in zip(batch, found, strict=True):
            assert image.image is not None
            size_hw = (image.image.shape[0], image.image.shape[1])
            decode_ms, wait = 1000 * image.decode_seconds, mark - image.begun - image.decode_seconds
            self._release(image)
            image.answer.set_result(
                ImageAnswer(detections, size_hw, decode_ms, 1000 * wait, 1000 * seconds, len(batch))
            )

    def _release(self, image: _Image) -> None:
        image.image = None
        with self._changed:
            self._pixels -= image.pixels
            self._changed.notify_all()
