"""Options of a request, from its query and its form, checked against the settings of the service."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from onelook.errors import SettingsError
from onelook.inference.predictor import PredictionSettings
from onelook.service.refusal import Refusal
from onelook.settings.classes import ClassList, class_ids_of
from onelook.settings.nearest_name import nearest_name

SEVERAL = ("classes", "imgsz")


class RequestOptions(BaseModel):
    """Options of a request; the service's settings apply where one is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    conf_thres: float | None = Field(None, ge=0, le=1)
    """Minimum confidence, at least that of the service."""
    iou_thres: float | None = Field(None, ge=0, le=1)
    """IoU above which the weaker of two detections of a class is dropped."""
    max_det: int | None = Field(None, ge=1)
    """Most detections, at most that of the service."""
    classes: ClassList = Field([])
    """Only these classes, by number or name, separated by commas."""
    imgsz: list[int] = Field([], max_length=2)
    """Size that the image is fitted into, pixels: one side, or height and width with a comma; at most the service's."""
    track: str | None = Field(None, min_length=1, max_length=64)
    """Name of a video whose frames are sent one after the other: its objects get ids that they keep."""

    @field_validator("imgsz", mode="before")
    @classmethod
    def _split(cls, given: Any) -> Any:
        return [part for text in given for part in text.replace(",", " ").split()]


def read_options(fields: Iterable[tuple[str, str]]) -> RequestOptions:
    """The options in the fields of a request.

    Raises:
        Refusal: a field is unknown, given twice, or has an invalid value.
    """
    given: dict[str, Any] = {}
    known = list(RequestOptions.model_fields)
    for name, text in fields:
        if name not in known:
            raise Refusal(422, f"`{name[:40]}` is not a field of a request", hint=nearest_name(name[:40], known))
        if name in SEVERAL:
            given.setdefault(name, []).append(text)
        elif name in given:
            raise Refusal(422, f"`{name}` is given twice")
        else:
            given[name] = text
    try:
        return RequestOptions.model_validate(given)
    except ValidationError as problem:
        texts = [f"`{error['loc'][0]}`: {error['msg'].lower()}" for error in problem.errors()]
        raise Refusal(400, "; ".join(texts)) from problem


def settings_for(options: RequestOptions, own: PredictionSettings, names: tuple[str, ...]) -> PredictionSettings:
    """The settings of the service with the options of a request in place.

    Raises:
        Refusal: an option exceeds what the service allows.
    """
    if options.conf_thres is not None and options.conf_thres < own.conf_thres:
        raise Refusal(
            400,
            f"`conf_thres` is {options.conf_thres}; {own.conf_thres} to 1 can be asked for",
            hint="start the service with a smaller `--conf-thres`",
        )
    if options.max_det is not None and options.max_det > own.max_det:
        raise Refusal(
            400,
            f"`max_det` is {options.max_det}; 1 to {own.max_det} can be asked for",
            hint="start the service with a larger `--max-det`",
        )
    sides = (options.imgsz[0], options.imgsz[-1]) if options.imgsz else own.frame_hw
    if any(side > most for side, most in zip(sides, own.frame_hw, strict=True)):
        raise Refusal(
            400,
            f"`imgsz` is {sides[0]} x {sides[1]}; up to {own.frame_hw[0]} x {own.frame_hw[1]} can be asked for",
            hint="start the service with a larger `--imgsz`",
        )
    try:
        wanted = class_ids_of(options.classes, names)
        allowed = class_ids_of(own.classes or (), names)
    except SettingsError as problem:
        raise Refusal(400, problem.message, hint=problem.hint) from problem
    refused = [names[class_id] for class_id in wanted if allowed and class_id not in allowed]
    if refused:
        raise Refusal(400, f"`classes` names `{refused[0]}`, which this service does not look for")
    return replace(
        own,
        conf_thres=own.conf_thres if options.conf_thres is None else options.conf_thres,
        iou_thres=own.iou_thres if options.iou_thres is None else options.iou_thres,
        max_det=own.max_det if options.max_det is None else options.max_det,
        classes=wanted or own.classes,
        imgsz=sides,
    )
