"""What detection and the service tell the predictor, in the words of their settings."""

from __future__ import annotations

from onelook.inference.predictor import PredictionSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.serve import ServeSettings


def prediction_settings(settings: DetectSettings | ServeSettings) -> PredictionSettings:
    """The part of the settings that the predictor needs; a service never uses TTA."""
    return PredictionSettings(
        imgsz=(settings.imgsz[0], settings.imgsz[-1]) if settings.imgsz else None,
        conf_thres=settings.conf_thres,
        iou_thres=settings.iou_thres,
        max_det=settings.max_det,
        classes=tuple(settings.classes) or None,
        agnostic_nms=settings.agnostic_nms,
        half=settings.half,
        augment=isinstance(settings, DetectSettings) and settings.augment,
    )
