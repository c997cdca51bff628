"""What the service says, as JSON: the models behind the OpenAPI description."""

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
    name: str = Field(description="of the class")
    object_id: int | None = Field(None, description="with `track`: the same for an object in all frames, from 1 on")


class Size(BaseModel):
    """Of the image after EXIF rotation, pixels."""

    width: int
    height: int


class Milliseconds(BaseModel):
    """Where the time went."""

    decode: float = Field(description="of this image")
    wait: float = Field(description="for its turn")
    predict: float = Field(description="of the batch that it was in")
    total: float = Field(description="from the end of the upload to the answer")


class Answer(BaseModel):
    """What was found in an image, highest score first."""

    detections: list[FoundObject]
    size: Size
    milliseconds: Milliseconds
    batch: int = Field(description="images that went through the network together with this one, itself included")


class ClassInfo(BaseModel):
    """A class, and the colour of its boxes."""

    name: str
    colour: str = Field(description="#rrggbb")
    text_colour: str = Field(description="readable on it, #rrggbb")


class ModelInfo(BaseModel):
    """The detector and how it is asked."""

    name: str
    classes: list[ClassInfo]
    imgsz: tuple[int, int] = Field(description="height and width that images are fitted into, pixels")
    conf_thres: float
    iou_thres: float
    max_det: int
    max_bytes: int = Field(description="of an image's file")
    max_pixels: int = Field(description="of an image")
    version: str


class Health(BaseModel):
    """Whether images are taken, and what was done since the start."""

    status: str = Field(description="ok; or failed: the network has ended, or takes more than a minute for a batch")
    waiting: int = Field(description="images inside, being uploaded, decoded or predicted")
    answered: int
    refused: int
    failed: int
    left: int = Field(description="requests whose client had left")


class Problem(BaseModel):
    """Why there is no answer."""

    error: str
    hint: str | None = None
