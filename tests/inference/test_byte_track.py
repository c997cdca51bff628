"""Objects over time: ids stay with their objects, counted by who the boxes really are."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
import pytest
from moving_boxes import MovingBox, SwitchCount, easy_scene, hard_scene, seen

from onelook.inference.byte_track import KEPT_FRAMES, ByteTrack
from onelook.structures.detections import Detections

NUM_FRAMES = 300


def followed(scene: Sequence[MovingBox], *, seed: int = 0) -> tuple[SwitchCount, int, float]:
    """Switches, detections with an id, and seconds of following, in a video of 300 frames."""
    tracks, count, rng = ByteTrack(0.25), SwitchCount(), np.random.Generator(np.random.Philox(key=seed))
    num_followed, spent = 0, 0.0
    for frame in range(NUM_FRAMES):
        found, numbers = seen(scene, frame, rng)
        begin = time.process_time()
        kept = tracks.update(found)
        spent += time.process_time() - begin
        assert kept.object_ids is not None and len(set(kept.object_ids.tolist())) == len(kept)
        box_of = {box.tobytes(): int(number) for box, number in zip(found.boxes, numbers, strict=True)}
        count.add([(box_of[box.tobytes()], int(id_)) for box, id_ in zip(kept.boxes, kept.object_ids, strict=True)])
        num_followed += len(kept)
    return count, num_followed, spent


def test_objects_that_do_not_meet_never_change_their_ids() -> None:
    count, num_followed, spent = followed(easy_scene())
    assert count.switches == 0 and count.ids == set(range(1, 7))
    assert num_followed > 0.97 * 6 * NUM_FRAMES
    assert NUM_FRAMES / spent > 60


@pytest.mark.parametrize(("num_objects", "seed", "most"), [(6, 1, 0), (6, 2, 1), (12, 3, 0)])
def test_objects_that_cross_and_hide_each_other_seldom_change_their_ids(num_objects: int, seed: int, most: int) -> None:
    count, num_followed, _ = followed(hard_scene(num_objects, seed), seed=seed)
    assert count.switches <= most
    assert num_followed > 0.85 * num_objects * NUM_FRAMES


def of(*rows: tuple[float, float, float, int]) -> Detections:
    """Boxes of 40 x 40 pixels: x, y, score, class."""
    boxes = [[x - 20, y - 20, x + 20, y + 20] for x, y, _, _ in rows]
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array([score for *_, score, _ in rows], np.float32),
        np.array([class_id for *_, class_id in rows], np.int64),
    )


def ids_in(tracks: ByteTrack, *rows: tuple[float, float, float, int], frames: int = 1) -> list[int]:
    found = tracks.update(of(*rows), frames=frames).object_ids
    assert found is not None
    return [int(id_) for id_ in found]


def test_object_that_is_hidden_keeps_its_id_for_a_while() -> None:
    for hidden, same in ((KEPT_FRAMES - 1, True), (KEPT_FRAMES + 5, False)):
        tracks = ByteTrack(0.25)
        for frame in range(10):
            assert ids_in(tracks, (100 + 3 * frame, 50, 0.9, 0)) == [1]
        for _ in range(hidden):
            assert ids_in(tracks) == []
        assert (ids_in(tracks, (100 + 3 * (10 + hidden), 50, 0.9, 0)) == [1]) is same


def test_weak_detection_continues_a_track_and_begins_none() -> None:
    tracks = ByteTrack(0.25)
    assert ids_in(tracks, (100, 50, 0.9, 0), (300, 50, 0.2, 0)) == [1]
    assert ids_in(tracks, (101, 50, 0.2, 0), (300, 50, 0.2, 0)) == [1]


def test_other_class_is_another_object() -> None:
    tracks = ByteTrack(0.25)
    assert ids_in(tracks, (100, 50, 0.9, 0)) == [1]
    assert ids_in(tracks, (100, 50, 0.9, 1)) == [2]


def test_frames_that_were_passed_over_count() -> None:
    tracks = ByteTrack(0.25)
    for frame in range(0, 20, 2):
        assert ids_in(tracks, (100 + 10 * frame, 50, 0.9, 0), frames=2) == [1]
    assert ids_in(tracks, (100 + 10 * 28, 50, 0.9, 0), frames=10) == [1]


def test_nothing_and_boxes_without_area_do_no_harm() -> None:
    tracks = ByteTrack(0.25)
    assert ids_in(tracks) == []
    flat = Detections(np.array([[5, 5, 5, 9]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    assert len(tracks.update(flat)) == 0
