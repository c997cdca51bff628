"""The numbers that shape training: optimiser, loss and augmentation. The text under each field is its documentation."""

from __future__ import annotations

from pydantic import ConfigDict, Field

from onelook.settings.strict_settings import StrictSettings
from onelook.settings.transforms import Transforms

ANCHOR_T = 4.0


class Hyperparameters(StrictSettings):
    """The hyperparameters, with the values of the preset `scratch-low` as defaults."""

    model_config = ConfigDict(title="hyperparameters")

    lr0: float = Field(0.01, gt=0, le=1)
    """Learning rate after warm-up; for Adam and AdamW 0.001 is a good start."""
    lrf: float = Field(0.01, ge=0, le=1)
    """Learning rate at the end of the run, as a fraction of lr0."""
    momentum: float = Field(0.937, ge=0, lt=1)
    """Momentum of SGD; first beta of Adam and AdamW."""
    weight_decay: float = Field(0.0005, ge=0, lt=1)
    """Weight decay per update of 64 images; biases and normalisation weights have none."""
    warmup_epochs: float = Field(3.0, ge=0)
    """Length of the warm-up in epochs, at most a tenth of the run; 0 switches it off."""
    warmup_momentum: float = Field(0.8, ge=0, lt=1)
    """Momentum of SGD at the start of the warm-up."""
    warmup_bias_lr: float = Field(0.1, ge=0, le=1)
    """Learning rate of the biases at the start of the warm-up; all others start from 0."""
    box: float = Field(0.05, ge=0)
    """Weight of the box term of the loss; models with anchors multiply it by 3 / maps."""
    cls: float = Field(0.5, ge=0)
    """Weight of the class term of the loss; models with anchors multiply it by 3 / maps and classes / 80."""
    cls_pw: float = Field(1.0, gt=0)
    """Weight of positives in the class term."""
    cls_softmax: float = Field(0.0, ge=0)
    """Weight of a softmax cross-entropy among the classes of each object, in the class term of `onelook*` models."""
    obj: float = Field(1.0, ge=0)
    """Weight of the objectness term of the loss; models with anchors multiply it by 3 / maps and (imgsz / 640)²."""
    obj_pw: float = Field(1.0, gt=0)
    """Weight of positives in the objectness term."""
    anchor_t: float = Field(ANCHOR_T, gt=1)
    """An anchor is matched to a box if no side differs by more than this factor."""
    anchors: float = Field(0.0, ge=0, le=20)
    """Anchors per output map, computed from the data (rounded); 0 keeps those of the model."""
    fl_gamma: float = Field(0.0, ge=0, le=10)
    """Focal loss gamma for class and objectness; 0 is plain cross-entropy."""
    auto_balance: bool = Field(False)
    """Let the weights of the output maps in the objectness term follow their losses."""
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    """Class targets become 1 - x/2 and x/2; models without anchors multiply theirs by 1 - x instead."""
    hsv_h: float = Field(0.015, ge=0, le=1)
    """Largest change of hue, as a fraction."""
    hsv_s: float = Field(0.7, ge=0, le=1)
    """Largest change of saturation, as a fraction."""
    hsv_v: float = Field(0.4, ge=0, le=1)
    """Largest change of brightness, as a fraction."""
    degrees: float = Field(0.0, ge=0, le=180)
    """Largest rotation, degrees either way."""
    translate: float = Field(0.1, ge=0, le=1)
    """Largest shift, as a fraction of the image side."""
    scale: float = Field(0.5, ge=0, lt=1)
    """Largest change of size: the gain is drawn from 1 - scale to 1 + scale."""
    shear: float = Field(0.0, ge=0, lt=90)
    """Largest shear, degrees either way."""
    perspective: float = Field(0.0, ge=0, le=0.001)
    """Largest perspective coefficient, 0 to 0.001."""
    flipud: float = Field(0.0, ge=0, le=1)
    """Probability of an upside-down flip."""
    fliplr: float = Field(0.5, ge=0, le=1)
    """Probability of a left-right flip."""
    mosaic: float = Field(1.0, ge=0, le=1)
    """Probability that a training image is a mosaic of four, or of nine."""
    mosaic9: float = Field(0.0, ge=0, le=1)
    """Share of the mosaics that have nine images; 0 for none."""
    mixup: float = Field(0.0, ge=0, le=1)
    """Probability that a mosaic is blended with a second mosaic."""
    copy_paste: float = Field(0.0, ge=0, le=1)
    """Fraction of the polygon objects that are pasted mirrored into the same image; needs polygon labels."""
    transforms: Transforms = Field([])
    """Transforms of Albumentations, in their order: a list, YAML files that hold one, or YAML text in brackets."""
