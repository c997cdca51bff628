"""Every option of a look into a file of weights. The text under each field is `--help`, reference page and comment."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator

from onelook.errors import SettingsError
from onelook.settings.train import IMGSZ_ALIASES
from onelook.settings.unused_options import refuse_idle


class InfoSettings(BaseModel):
    """All settings of `onelook info`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, validate_default=True)

    weights: Path
    """File to look into: a checkpoint of Onelook or YOLOv5, or what `onelook export` wrote."""
    imgsz: int = Field(640, ge=32, multiple_of=32, json_schema_extra=IMGSZ_ALIASES)
    """Side of the image that operations are counted for, and of the images of `data`, pixels."""
    rows: bool = Field(False)
    """List the rows of the layer table, too."""
    sparsity: bool = Field(False)
    """List for each layer the share of weights whose magnitude is below the threshold."""
    threshold: float = Field(0.001, gt=0)
    """Magnitude below which a weight counts as small; batch-norm is folded in."""
    prune: list[float] = Field([])
    """Percentages of the weights: list what each layer would lose if those of least magnitude were zero."""
    data: str = Field("")
    """Dataset YAML to measure the model on, as it is and pruned; the file of weights is not changed."""
    batch_size: int = Field(32, ge=1)
    """Images per batch on `data`."""
    workers: int = Field(8, ge=0)
    """Most processes that load images of `data`."""
    device: str = Field("")
    """cpu, a GPU number, or mps, for `data`; empty takes the first GPU if there is one."""

    @model_validator(mode="after")
    def _refuse_options_without_effect(self) -> InfoSettings:
        given = self.model_fields_set
        outside = [percentage for percentage in self.prune if not 0 <= percentage < 100]
        if outside:
            raise SettingsError(f"setting `prune` has {outside[0]:g}; percentages are from 0 to below 100")
        if self.data and not self.prune:
            raise SettingsError(
                "setting `data` has no effect without `prune`", hint="add `--prune 50`, or use `onelook val`"
            )
        if "threshold" in given and not (self.sparsity or self.prune):
            raise SettingsError("setting `threshold` has no effect without `sparsity`", hint="add `--sparsity`")
        refuse_idle(self, ("batch_size", "workers", "device"), without="data")
        return self
