# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Messages serialized by struct are those that rclpy makes."""
from typing import Any

from builtin_interfaces.msg import Time
from hypothesis import given
from hypothesis.strategies import floats, integers, sampled_from, text
from miniscope_msgs.msg import FrameInfo, OrientationRow
from miniscope_ros.node.cdr import FRAME_INFO, image_packer, IMU, ORIENTATION_ROW, packer
import numpy as np
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image, Imu
from std_msgs.msg import Header

FRAME_IDS = text('abcdefgh_/µ', max_size=20)  # of every length modulo the alignment
SECONDS = integers(-2**31, 2**31 - 1)
NANOSECONDS = integers(0, 999_999_999)
COUNTS = integers(0, 2**64 - 1)
SIGNED = integers(-2**63, 2**63 - 1)
SMALL = integers(0, 255)
NUMBERS = floats(allow_nan=True, allow_infinity=True)


def assert_same(packed: bytes, message: Any) -> None:
    expected = serialize_message(message)
    assert len(packed) == len(expected)  # bytes of alignment may have any value
    assert repr(deserialize_message(packed, type(message))) == repr(message)  # NaN included
    assert packed[:4] == expected[:4]


def header(frame_id: str, sec: int, nanosec: int) -> Header:
    return Header(frame_id=frame_id, stamp=Time(sec=sec, nanosec=nanosec))


@given(FRAME_IDS, SECONDS, NANOSECONDS, COUNTS, SIGNED, SMALL, integers(-2**15, 2**15 - 1),
       NUMBERS)
def test_frame_info(frame_id: str, sec: int, nanosec: int, count: int, signed: int, small: int,
                    inputs: int, number: float) -> None:
    message = FrameInfo(
        header=header(frame_id, sec, nanosec), frame_index=count, capture_index=count ^ 1,
        lost_before=small + 1, damaged_before=small + 2, loss_evidence=small,
        device_frame_count=signed, sync_edge=~signed, orientation=255 - small,
        stamp_source=small // 2, digital_inputs=inputs, time_ms=number, device_time_ms=-number,
        receive_time=Time(sec=~sec, nanosec=nanosec // 3), content=small // 3,
        lost_uncertainty=small + 3)
    packed = packer(frame_id, FRAME_INFO)(
        sec, nanosec, count, count ^ 1, small + 1, small + 2, small, signed, ~signed, 255 - small,
        small // 2, inputs, number, -number, ~sec, nanosec // 3, small // 3, small + 3)
    assert_same(packed, message)


@given(FRAME_IDS, SECONDS, NANOSECONDS, COUNTS, NUMBERS, NUMBERS)
def test_orientation_row(frame_id: str, sec: int, nanosec: int, count: int, number: float,
                         other: float) -> None:
    message = OrientationRow(
        header=header(frame_id, sec, nanosec), frame_index=count, time_ms=other, qw=number,
        qx=-number, qy=other, qz=-other)
    packed = packer(frame_id, ORIENTATION_ROW)(
        sec, nanosec, count, other, number, -number, other, -other)
    assert_same(packed, message)


@given(FRAME_IDS, SECONDS, NANOSECONDS, NUMBERS)
def test_imu(frame_id: str, sec: int, nanosec: int, number: float) -> None:
    message = Imu(header=header(frame_id, sec, nanosec))
    values = [number, *(float(k) for k in range(1, 37))]
    parts = iter(values)
    orientation = message.orientation
    orientation.x, orientation.y, orientation.z, orientation.w = (next(parts) for _ in range(4))
    for vector, covariance in (
        (None, message.orientation_covariance),
        (message.angular_velocity, message.angular_velocity_covariance),
        (message.linear_acceleration, message.linear_acceleration_covariance),
    ):
        if vector is not None:
            vector.x, vector.y, vector.z = (next(parts) for _ in range(3))
        covariance[:] = [next(parts) for _ in range(9)]
    assert_same(packer(frame_id, IMU)(sec, nanosec, *values), message)


@given(FRAME_IDS, SECONDS, NANOSECONDS, integers(1, 9), integers(1, 9), sampled_from([1, 3]))
def test_image(frame_id: str, sec: int, nanosec: int, height: int, width: int,
               channels: int) -> None:
    encoding = 'mono8' if channels == 1 else 'bgr8'
    pixels = np.arange(height * width * channels, dtype=np.uint8)
    pixels = pixels.reshape((height, width) if channels == 1 else (height, width, 3))
    message = Image(
        header=header(frame_id, sec, nanosec), height=height, width=width, encoding=encoding,
        step=width * channels, data=pixels.tobytes())
    assert_same(image_packer(frame_id, encoding)(sec, nanosec, pixels), message)
