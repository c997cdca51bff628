"""A detector as a service: the table of contents."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from onelook.data.capacity import available_processors
from onelook.errors import OnelookError
from onelook.exports.opening import load_runnable
from onelook.inference.predictor import Predictor, prediction_settings
from onelook.processes.stop_signal import StopSignal
from onelook.service.answers import Health, ModelInfo
from onelook.service.batching import Batcher
from onelook.service.guard import Guard, allowed_names, is_loopback
from onelook.service.packages import require_packages
from onelook.settings.build import build_settings
from onelook.settings.serve import ServeSettings

if TYPE_CHECKING:
    from onelook.service.request_handler import Limits, RequestHandler
    from onelook.service.server import Running

logger = logging.getLogger(__name__)

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Service:
    """A running service.

    Attributes:
        model: what it says of itself.
        server: the running server, to wait for its end.
    """

    url: str
    model: ModelInfo
    handler: RequestHandler
    server: Running


def serve(
    given: Mapping[str, Any], *, file: Path | None = None, on_start: Callable[[Service], None] | None = None
) -> Health:
    """Answer requests until a signal comes; those that were accepted by then are still answered.

    Args:
        on_start: called as soon as requests are answered.

    Returns:
        How many images were answered, and how many requests were refused or failed.

    Raises:
        OnelookError: a setting, the weights or the address cannot be used, or a package is missing.
    """
    with StopSignal() as stop:
        with serving(given, file=file) as service:
            if on_start is not None:
                on_start(service)
            while not stop.requested:
                if not service.server.wait(POLL_SECONDS):
                    raise OnelookError("the server stopped unexpectedly")
        return service.handler.health()


@contextmanager
def serving(given: Mapping[str, Any], *, file: Path | None = None) -> Iterator[Service]:
    """A service that answers meanwhile; see `serve`."""
    settings = build_settings(ServeSettings, given, file=file)
    require_packages("onelook serve")
    from onelook.service.app import create_app
    from onelook.service.decoding import Decoder
    from onelook.service.request_handler import Limits, RequestHandler
    from onelook.service.server import running

    predictor = Predictor(
        load_runnable(settings.weights, settings.device, head=settings.head), prediction_settings(settings)
    )
    predictor.predict([np.zeros((*predictor.settings.frame_hw, 3), np.uint8)])  # fail now, not at the first request
    limits = Limits(
        queue_size=settings.queue_size,
        max_bytes=round(1e6 * settings.max_megabytes),
        max_pixels=settings.max_pixels,
        upload_seconds=settings.upload_seconds,
    )
    decoders = [Decoder(settings.decode_seconds, limits.max_pixels) for _ in range(min(4, available_processors()))]
    for decoder in decoders:
        decoder.start()  # images that come together need not wait for one
    batcher = Batcher(
        predictor.predict,
        batch_size=settings.batch_size,
        wait_seconds=settings.batch_wait / 1000,
        max_pixels=limits.max_pixels,
        decoders=decoders,
    )
    try:
        handler = RequestHandler(
            batcher,
            predictor.names,
            settings=predictor.settings,
            limits=limits,
            predict_with=lambda asked: predictor.with_settings(asked).predict,
        )
        model = _model_info(settings, predictor, limits)
        app = Guard(create_app(handler, model), allowed_names(settings.host, settings.allowed_hosts))
        with running(app, settings.host, settings.port) as server:
            if not is_loopback(settings.host):
                logger.warning(
                    "`host` is %s: anyone who can reach %s can use it without a password", settings.host, server.url
                )
            yield Service(server.url, model, handler, server)
    finally:  # what the server has not answered by now is given up
        for decoder in decoders:
            decoder.close()
        batcher.close()


def _model_info(settings: ServeSettings, predictor: Predictor, limits: Limits) -> ModelInfo:
    from onelook.service.request_handler import class_infos

    return ModelInfo(
        name=settings.weights.name,
        classes=class_infos(predictor.names),
        imgsz=predictor.settings.frame_hw,
        conf_thres=settings.conf_thres,
        iou_thres=settings.iou_thres,
        max_det=settings.max_det,
        max_bytes=limits.max_bytes,
        max_pixels=limits.max_pixels,
        version=version("onelook"),
    )
