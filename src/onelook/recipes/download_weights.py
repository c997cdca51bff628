"""Fetches published weights by name, checks them, and puts them where `--weights NAME` looks for them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from onelook.data.parallel_map import said_now_and_then
from onelook.files.bounded import sha256_of
from onelook.files.web import Transport, WebFile, fetch, shown
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.processes.stop_signal import StopSignal
from onelook.structures.origin import Origin
from onelook.training.weights import weights_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class WeightsDownload:
    """What a download of weights gave.

    Attributes:
        name: for `--weights`.
        origin: of the weights.
        is_new: whether it was fetched now.
    """

    name: str
    path: Path
    origin: Origin
    is_new: bool


def download_weights(name: str, *, folder: Path | None = None, transport: Transport | None = None) -> WeightsDownload:
    """Fetch the weights `name`, unless they are here.

    Args:
        name: in `PUBLISHED_WEIGHTS`.
        folder: where they go; None means where `--weights NAME` looks for them.
        transport: how to reach the web; only tests have another.

    Raises:
        DataError: the file cannot be fetched, or is another than it should be.
        StopRequested: Ctrl-C or SIGTERM; started again, it resumes where it ended.
    """
    published = PUBLISHED_WEIGHTS[name]
    place = weights_folder() if folder is None else folder
    path = place / published.file_name
    if path.is_file() and sha256_of(path) == published.sha256:
        return WeightsDownload(name, path, published.origin, is_new=False)
    place.mkdir(parents=True, exist_ok=True)
    with StopSignal() as stop:
        logger.info("fetching `%s`", shown(published.url))
        fetch(
            WebFile(published.url, published.size, published.sha256),
            path,
            transport=transport,
            stop_requested=stop,
            progress=said_now_and_then(f"bytes of `{published.file_name}`"),
        )
    return WeightsDownload(name, path, published.origin, is_new=True)
