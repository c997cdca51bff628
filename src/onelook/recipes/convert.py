"""From a checkpoint, of YOLOv5 or ours, to one that holds a detector and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from onelook.errors import CheckpointError, SettingsError
from onelook.files.bounded import printable, refuse_impossible
from onelook.interop.yolov5_weights import SUFFIXES
from onelook.models.fuse import fuse as fused
from onelook.runs.checkpoint import save_checkpoint
from onelook.settings.run_weights import file_of_run
from onelook.training.detector_file import Source, detector_in_ours, detector_in_yolov5, in_16_bits

OUR_SUFFIX = ".safetensors"


@dataclass(frozen=True)
class Conversion:
    """What a conversion gives.

    Attributes:
        source: where the detector was found.
        num_parameters: numbers that a training run of it can change.
    """

    source: Source
    names: tuple[str, ...]
    num_parameters: int
    num_tensors: int
    path: Path


def convert(
    weights: str | Path,
    out: str | Path | None = None,
    *,
    exist_ok: bool = False,
    ema_only: bool = False,
    fuse: bool = False,
    half: bool = False,
) -> Conversion:
    """Write weights of YOLOv5 in our format, or ours to a smaller file; the same as `onelook convert`.

    Args:
        weights: a `.pt` or `.pth` file of YOLOv5, read as data; or one of ours, if there is something to change.
        out: where to; by default beside `weights`, with a name that says what was done.
        exist_ok: whether a file in that place may be replaced.
        ema_only: leave out what only a training run needs; a conversion from YOLOv5 always does.
        fuse: fold the batch-norms into the convolutions; the result cannot be trained on.
        half: store the weights of convolutions in 16 bits, half the size; they are used in 32.

    Raises:
        CheckpointError: the file cannot be read as such a checkpoint.
        ModelError: a weight is too large for 16 bits.
        SettingsError: `out` is taken or has another suffix, or there is nothing to change.
        OSError: `out` cannot be written.
    """
    for name, path in (("weights", weights), ("out", out or "")):
        refuse_impossible(f"setting `{name}`", path)
    weights = Path(file_of_run(weights))
    is_foreign = weights.suffix.lower() in SUFFIXES
    if not is_foreign and weights.suffix != OUR_SUFFIX:
        raise CheckpointError(
            f"`{printable(weights)}` does not have the suffix of a YOLOv5 or Onelook checkpoint",
            hint=f"give a {' or '.join((*SUFFIXES, OUR_SUFFIX))} file",
        )
    if not is_foreign and not (ema_only or fuse or half):
        raise SettingsError(
            f"`{printable(weights)}` is a checkpoint of Onelook already", hint="add `--ema-only`, `--fuse` or `--half`"
        )
    changes = [word for word, is_asked in (("fused", fuse), ("half", half)) if is_asked]
    stem = "-".join([weights.stem, *(changes or ([] if is_foreign else ["ema"]))])
    target = weights.with_name(stem + OUR_SUFFIX) if out is None else Path(out)
    _check_target(target, weights, exist_ok=exist_ok)
    model, source, document = (detector_in_yolov5 if is_foreign else detector_in_ours)(weights)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    converted = fused(model) if fuse else model
    tensors = {f"ema/{name}": tensor for name, tensor in converted.state_dict().items()}
    if half:
        tensors = {name: in_16_bits(name, tensor) for name, tensor in tensors.items()}
    flags = {"is_fused": True} if fuse or document.get("is_fused") else {}
    save_checkpoint(target, tensors, {**document, **flags})
    return Conversion(source, tuple(model.names), num_parameters, len(tensors), target)


def _check_target(target: Path, weights: Path, *, exist_ok: bool) -> None:
    if target.suffix != OUR_SUFFIX:
        raise SettingsError(f"`out` is `{printable(target)}`, which does not end in {OUR_SUFFIX}")
    if target.exists() and weights.exists() and target.samefile(weights):
        raise SettingsError(f"`out` is `{printable(target)}`, the file itself", hint="choose another `--out`")
    if target.exists() and not exist_ok:
        raise SettingsError(
            f"`{printable(target)}` already exists", hint="choose another `--out`, or add `--exist-ok` to replace it"
        )
