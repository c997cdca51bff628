"""Mirroring the output; labels and pixels follow the matrix."""

from __future__ import annotations

from dataclasses import replace

from onelook.data.augment.draft import Draft, Stream
from onelook.geometry.affine import mirror


def draw(draft: Draft, stream: Stream) -> None:
    """Mirror left to right by the probability `fliplr`, upside down by `flipud`; both canvases of a mix-up alike."""
    chances = draft.hyperparameters.fliplr, draft.hyperparameters.flipud
    if not any(chances):
        return
    left_right, up_down = (stream(0).random(2) < chances).tolist()
    if left_right or up_down:
        flip = mirror(draft.output_hw[1], draft.output_hw[0], left_right=left_right, up_down=up_down)
        draft.canvases = [replace(canvas, to_output=flip @ canvas.to_output) for canvas in draft.canvases]
