"""What detection and the service tell the predictor, in the words of their settings."""

from __future__ import annotations

from onelook.inference.byte_track import LOW_CONFIDENCE
from onelook.inference.predictor import PredictionSettings
from onelook.settings.detect import DetectSettings
from onelook.settings.serve import ServeSettings


def _confidence(settings: DetectSettings | ServeSettings) -> float:
    """Minimum confidence, lower where weak detections keep the ids of objects alive."""
    is_followed = isinstance(settings, DetectSettings) and settings.tracker != "none"
    return min(settings.conf_thres, LOW_CONFIDENCE) if is_followed else settings.conf_thres


def prediction_settings(settings: DetectSettings | ServeSettings) -> PredictionSettings:
    """The part of the settings that the predictor needs; a service never uses TTA."""
    return PredictionSettings(
        imgsz=(settings.imgsz[0], settings.imgsz[-1]) if settings.imgsz else None,
        conf_thres=_confidence(settings),
        iou_thres=settings.iou_thres,
        max_det=settings.max_det,
        classes=tuple(settings.classes) or None,
        agnostic_nms=settings.agnostic_nms,
        half=settings.half,
        augment=isinstance(settings, DetectSettings) and settings.augment,
    )
