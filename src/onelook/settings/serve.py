"""Every option of the service. The text under each field is `--help`, reference page and comment at once."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from onelook.files.image_headers import MOST_PIXELS
from onelook.settings.classes import ClassList
from onelook.settings.head import HeadChoice
from onelook.settings.strict_settings import StrictSettings
from onelook.settings.train import IMGSZ_ALIASES


class ServeSettings(StrictSettings):
    """All settings of `onelook serve`."""

    weights: Path
    """Detector to use: .safetensors, .pt of YOLOv5, or what `onelook export` wrote."""
    head: HeadChoice = Field("auto")
    """Branch of a head with two: `many` boxes per object, with NMS, or `one`; auto takes the better in validation.
    """
    host: str = Field("127.0.0.1", min_length=1)
    """Address to listen on; the default serves this machine only, 0.0.0.0 the network too."""
    port: int = Field(8000, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    allowed_hosts: list[str] = Field([])
    """Host names that requests may use; none given means those of this machine, or all if `host` is public."""
    imgsz: list[int] = Field([], max_length=2, json_schema_extra=IMGSZ_ALIASES)
    """Size that images are fitted into, pixels: one side, or height and width; multiples of the model's stride. If not
    given, the training size, or the only size of an exported model."""
    conf_thres: float = Field(0.25, ge=0, le=1)
    """Minimum confidence of a detection; a request may ask for a larger one."""
    iou_thres: float = Field(0.45, ge=0, le=1)
    """IoU above which the weaker of two detections is dropped."""
    max_det: int = Field(1000, ge=1)
    """Maximum number of detections per image."""
    classes: ClassList = Field([])
    """Only these classes, by number or name, separated by commas or spaces; all if not given."""
    agnostic_nms: bool = Field(False)
    """Apply NMS across classes instead of within each."""
    device: str = Field("")
    """cpu, a GPU number, or mps; empty takes the first GPU if there is one."""
    half: bool = Field(False)
    """16-bit arithmetic in the network; GPUs only."""
    batch_size: int = Field(8, ge=1)
    """Maximum number of images that go through the network together."""
    batch_wait: float = Field(3.0, ge=0, le=1000)
    """Milliseconds that an image waits for others to join its batch."""
    queue_size: int = Field(64, ge=1)
    """Maximum number of requests being processed, each with any number of images; others get 503 and `Retry-After`."""
    max_megabytes: float = Field(16.0, gt=0, le=512)
    """Largest file, 10^6 bytes."""
    max_pixels: int = Field(25_000_000, ge=100, le=MOST_PIXELS)
    """Maximum number of pixels of an image; also of all that are decoded at a time."""
    upload_seconds: float = Field(30.0, gt=0)
    """Longest time of an upload."""
    decode_seconds: float = Field(5.0, gt=0)
    """Longest time for decoding an image; a slower one is refused."""
