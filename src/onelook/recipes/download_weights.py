"""Fetches weights, published ones by name, others by their web address; only if somebody asks for it."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from onelook.data.parallel_map import progress_log
from onelook.errors import SettingsError
from onelook.files.bounded import sha256_of
from onelook.files.web import Transport, WebFile, fetch, shown_address
from onelook.interop.published_weights import PUBLISHED_WEIGHTS
from onelook.processes.stop_signal import StopSignal
from onelook.structures.origin import Origin
from onelook.training.weights import weights_folder

logger = logging.getLogger(__name__)

WEB_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True)
class WeightsDownload:
    """What a download of weights gave.

    Attributes:
        origin: where the weights come from.
        is_new: whether it was fetched now.
    """

    name: str
    path: Path
    origin: Origin
    is_new: bool


def download_weights(name: str, *, folder: Path | None = None, transport: Transport | None = None) -> WeightsDownload:
    """Fetch the weights `name`, unless they are here.

    Args:
        folder: where they go; None means where `--weights NAME` looks for them.

    Raises:
        DataError: the file cannot be fetched, or has another size or SHA-256.
        StopRequested: Ctrl-C or SIGTERM; started again, it resumes where it ended.
    """
    published = PUBLISHED_WEIGHTS[name]
    target_folder = weights_folder() if folder is None else folder
    path = target_folder / published.name
    if path.is_file() and sha256_of(path) == published.sha256:
        return WeightsDownload(name, path, published.origin, is_new=False)
    target_folder.mkdir(parents=True, exist_ok=True)
    with StopSignal() as stop:
        logger.info("fetching `%s`", shown_address(published.url))
        progress = progress_log(f"bytes of `{published.name}`")
        fetch(published, path, transport=transport, stop_requested=stop, progress=progress)
    return WeightsDownload(name, path, published.origin, is_new=True)


def local_weights(weights: str | Path | Sequence[str | Path], *, download: bool) -> list[str | Path]:
    """`weights` as files of this machine; with `download`, web addresses and published names are fetched once.

    Raises:
        SettingsError: one is a web address, and `download` is not set.
        DataError: see `download_weights`.
    """
    given = [weights] if isinstance(weights, str | Path) else list(weights) if isinstance(weights, Sequence) else []
    if not given or not all(isinstance(one, str | Path) for one in given):
        raise SettingsError(f"weights are {weights!r}, neither a path nor a list of paths")
    if download:
        return [_fetched(one) if isinstance(one, str) else one for one in given]
    for one in given:
        if isinstance(one, str) and WEB_ADDRESS.match(one):
            raise SettingsError(
                f"weights `{shown_address(one)}` are a web address, and nothing is fetched unless you ask for it",
                hint="`onelook.load(..., download=True)` fetches them once",
            )
    return given


def weights_at(url: str, *, transport: Transport | None = None) -> Path:
    """The weights at an https address, which are fetched once and kept beside the published ones.

    Raises:
        DataError: see `download_weights`.
        StopRequested: Ctrl-C or SIGTERM.
    """
    name = next((name for name, published in PUBLISHED_WEIGHTS.items() if published.url == url), None)
    if name is not None:
        return download_weights(name, transport=transport).path
    wanted = WebFile(url)
    file_name = re.sub(r"[^\w.-]", "_", wanted.name).lstrip(".") or "weights"
    path = weights_folder() / hashlib.sha256(url.encode()).hexdigest()[:16] / file_name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    with StopSignal() as stop:
        progress = progress_log(f"bytes of `{file_name}`")
        digest = fetch(wanted, path, transport=transport, stop_requested=stop, progress=progress)
    logger.info(
        "fetched `%s` to `%s`; its SHA-256 is %s: compare it with the publisher's", shown_address(url), path, digest
    )
    return path


def _fetched(weights: str) -> str | Path:
    if weights in PUBLISHED_WEIGHTS and not Path(weights).exists():
        return download_weights(weights).path
    return weights_at(weights) if WEB_ADDRESS.match(weights) else weights
