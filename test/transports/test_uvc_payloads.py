# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Frames out of payloads, their starts, and the descriptors of a camera."""
from collections.abc import Iterable

from miniscope_ros.transports import uvc
from miniscope_ros.transports import v4l2_controls as controls
from miniscope_ros.transports.uvc_payloads import (
    Frame,
    FrameAssembler,
    FrameBoundaries,
    StartEstimator,
)
import numpy as np
import pytest
from virtual_daq.descriptors import device_descriptors, SIZES, UNIT_GUID

CONTENT = 10
FRAME = 25  # bytes: two full payloads and a short one
MS = 1_000_000


def payload(frame_id: int, size: int = CONTENT, *, end: bool = False, error: bool = False,
            fill: int = 1) -> bytes:
    """Return a payload with its header."""
    header = bytes((12, 0x8C | frame_id | 2 * end | 0x40 * error)) + bytes(10)
    return header + bytes((fill,)) * size


def whole(frame_id: int, fill: int = 1) -> list[bytes]:
    """Return the payloads of one frame."""
    return [payload(frame_id, fill=fill), payload(frame_id, fill=fill),
            payload(frame_id, 5, end=True, fill=fill)]


def assemble(payloads: Iterable[bytes | None], gap_ns: int = MS,
             silences: dict[int, int] | None = None) -> list[Frame]:
    """Put frames together; None is a transfer that failed, silences are by payload."""
    boundaries, assembler = FrameBoundaries(), FrameAssembler(FRAME)
    frames, now_ns = [], 0
    for number, one in enumerate(payloads):
        now_ns += (silences or {}).get(number, gap_ns)
        if one is None:
            assembler.tear()
        else:
            cuts, ends = boundaries.look(one[1], now_ns)
            frames += assembler.add(memoryview(one), now_ns, cuts, ends)
    return frames


def test_whole_frames_come_with_their_bytes_and_numbers() -> None:
    frames = assemble(whole(0, 7) + whole(1, 8) + whole(0, 9))
    assert [(one.sequence, one.damaged, one.used) for one in frames] == [
        (0, False, FRAME), (1, False, FRAME), (2, False, FRAME)]
    assert [set(one.data.tolist()) for one in frames] == [{7}, {8}, {9}]
    assert [one.arrivals_ns for one in frames] == [
        [MS, 2 * MS, 3 * MS], [4 * MS, 5 * MS, 6 * MS], [7 * MS, 8 * MS, 9 * MS]]


@pytest.mark.parametrize('lost', [0, 1])
def test_failed_transfer_damages_its_own_frame(lost: int) -> None:
    torn: list[bytes | None] = [*whole(1)]
    torn[lost] = None
    frames = assemble([*whole(0), *torn, *whole(0)])
    assert [(one.sequence, one.damaged) for one in frames] == [
        (0, False), (1, True), (2, False)]


def test_lost_end_of_a_frame_is_seen_when_the_next_begins() -> None:
    frames = assemble([*whole(0), *whole(1)[:2], None, *whole(0)])
    assert [(one.sequence, one.damaged, one.used) for one in frames] == [
        (0, False, FRAME), (1, True, 20), (2, False, FRAME)]


def test_error_bit_too_much_and_too_little_are_damage() -> None:
    frames = assemble([
        payload(0), payload(0, error=True), payload(0, 5, end=True),
        *whole(1)[:2], payload(1, 6, end=True),
        payload(0, 5, end=True),
        payload(1, 0, end=True)])
    assert [(one.damaged, one.used) for one in frames] == [
        (True, FRAME), (True, FRAME), (True, 5), (True, 0)]


def test_frame_with_the_id_of_the_one_before_is_delivered_after_a_restart() -> None:
    frames = assemble(whole(0) + whole(0) + whole(1))
    assert [(one.sequence, one.damaged) for one in frames] == [
        (0, False), (1, False), (2, False)]


def test_frame_that_the_box_gave_up_does_not_run_into_the_next() -> None:
    # The box restarts its transfer after 400 ms of silence, with the frame ID 0.
    frames = assemble([*whole(1), *whole(0)[:2], *whole(0)], silences={5: 400 * MS})
    assert [(one.sequence, one.damaged) for one in frames] == [
        (0, False), (1, True), (2, False)]
    frames = assemble([*whole(1), *whole(0)], silences={4: 300 * MS})
    assert not any(one.damaged for one in frames)


# ---- when a frame began


def late_arrivals(late_ms: np.ndarray, start_ms: float = 100.0) -> list[int]:
    """Return the arrivals of payloads 0.48 ms apart, each late by so much, in order."""
    arrivals = start_ms + 0.48 * np.arange(len(late_ms)) + late_ms
    return [round(one * 1e6) for one in np.maximum.accumulate(arrivals)]


def test_start_is_exact_on_an_idle_computer() -> None:
    estimator = StartEstimator()
    for _ in range(3):
        assert estimator.start_ns(late_arrivals(np.zeros(46))) == pytest.approx(
            100e6, abs=1000)


def test_start_is_the_first_of_few_payloads() -> None:
    assert StartEstimator().start_ns([5, 6, 7]) == 5


def test_start_is_better_than_the_first_arrival_on_a_loaded_computer() -> None:
    random = np.random.default_rng(3)
    estimator = StartEstimator()
    errors, naive = [], []
    for _ in range(400):
        # The thread is held up at random, for up to 12 ms; what came meanwhile is taken at once.
        late = np.zeros(46)
        for _ in range(random.integers(1, 5)):
            begin, length = random.integers(0, 46), random.integers(1, 25)
            held = 0.48 * (begin + length - np.arange(46))
            late[begin:begin + length] = np.maximum(
                late[begin:begin + length], held[begin:begin + length])
        arrivals = late_arrivals(late + random.uniform(0, 0.05, 46))
        errors.append((estimator.start_ns(arrivals) - 100e6) / 1e6)
        naive.append((arrivals[0] - 100e6) / 1e6)
    errors = errors[10:]  # it has to learn the pace
    assert np.quantile(np.abs(errors), 0.99) < 1.0
    assert np.quantile(naive, 0.99) > 2.0  # else this shows nothing


def test_new_frame_rate_does_not_move_the_start_before_the_truth() -> None:
    estimator = StartEstimator()
    for _ in range(31):
        estimator.start_ns(late_arrivals(np.zeros(46)))
    faster = [round((100 + 0.2 * k) * 1e6) for k in range(46)]
    slower = [round((100 + 0.9 * k) * 1e6) for k in range(46)]
    assert estimator.start_ns(faster) == pytest.approx(100e6, abs=1000)
    assert estimator.start_ns(slower) == pytest.approx(100e6, abs=1000)


# ---- descriptors


def test_descriptors_of_the_box() -> None:
    camera = uvc.parse(device_descriptors())
    assert (camera.control_interface, camera.streaming_interface) == (0, 1)
    assert (camera.endpoint, camera.packet_bytes) == (0x83, 1024)
    assert (camera.terminal, camera.unit) == (1, 2)
    assert set(camera.sizes) == set(SIZES)
    assert all(camera.has(control) for control in uvc.PLACES)
    assert UNIT_GUID.bytes_le not in camera.extension_units
    assert uvc.parse(device_descriptors(open_ephys=True)).extension_units[
        UNIT_GUID.bytes_le] == 3
    assert not camera.has(0x00980924)
    assert camera.entity(uvc.PLACES[controls.CONTRAST]) == 2
    assert list(uvc.parse(device_descriptors(product_id='00f8')).sizes) == [(640, 480)]


def test_cut_and_random_descriptors_are_no_crash() -> None:
    descriptors = device_descriptors()
    for end in range(len(descriptors)):
        uvc.parse(descriptors[:end])
    random = np.random.default_rng(1)
    for _ in range(300):
        changed = bytearray(descriptors)
        for place in random.integers(0, len(changed), 8):
            changed[place] = random.integers(0, 256)
        uvc.parse(bytes(changed))
