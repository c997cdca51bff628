"""The JSON answers of the service, as pydantic models."""

from __future__ import annotations

from pydantic import BaseModel, Field

BOX_DECIMALS = 2
SCORE_DECIMALS = 5


class FoundObject(BaseModel):
    """One detection."""

    box: tuple[float, float, float, float] = Field(
        description="x1, y1, x2, y2 in pixels of the image after EXIF rotation"
    )
    score: float = Field(description="0 to 1")
    class_id: int
    name: str = Field(description="class name")
    object_id: int | None = Field(None, description="with `track`: id of the object, from 1, the same in all frames")


class Size(BaseModel):
    """Size of the image after EXIF rotation, pixels."""

    width: int
    height: int


class Milliseconds(BaseModel):
    """Where the time went."""

    decode: float = Field(description="decoding this image")
    wait: float = Field(description="waiting for a decoder and for the network")
    predict: float = Field(description="network and NMS on the whole batch")
    total: float = Field(description="from the end of the upload to the answer")


class Answer(BaseModel):
    """The detections in an image, highest score first."""

    detections: list[FoundObject]
    size: Size
    milliseconds: Milliseconds
    batch: int = Field(description="number of images in the batch of this one")


class ClassInfo(BaseModel):
    """A class and its colours."""

    name: str
    colour: str = Field(description="colour of its boxes, #rrggbb")
    text_colour: str = Field(description="colour of text on it, #rrggbb")


class ModelInfo(BaseModel):
    """The detector and the limits of the service."""

    name: str
    classes: list[ClassInfo]
    imgsz: tuple[int, int] = Field(description="height and width that images are fitted into, pixels")
    conf_thres: float
    iou_thres: float
    max_det: int
    max_bytes: int = Field(description="largest image file")
    max_pixels: int = Field(description="largest image")
    version: str


class Health(BaseModel):
    """Whether the service works, and counts since its start."""

    status: str = Field(description="`ok`, or `failed`: the network has ended or takes more than a minute for a batch")
    waiting: int = Field(description="requests in work")
    answered: int = Field(description="images answered")
    refused: int = Field(description="requests refused")
    failed: int = Field(description="requests that failed")
    left: int = Field(description="requests whose client disconnected")


class Problem(BaseModel):
    """Why a request has no answer."""

    error: str
    hint: str | None = None
