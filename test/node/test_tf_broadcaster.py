# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""publish_tf through the whole node, heard by the real tf2: the head turns as imu/data says."""
import math
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray
from listening import Heard, Listener
from node_process import scope_node
import pytest
from rclpy.time import Time
from recording_folders import scenes, write_miniscope_daq
from sensor_msgs.msg import Imu

try:
    import tf2_ros
except ImportError:
    tf2_ros = None

pytestmark = pytest.mark.skipif(
    tf2_ros is None, reason='tf2_ros is not installed: it comes with ROS 2, not with the wheels')
READINGS = 40
NORM = 0.96  # valid by max_norm_error, and far from what tf2 takes
FRAMES = {'world_frame_id': 'cage', 'imu_frame_id': 'head', 'publish_tf': True}


def turns(count: int) -> list[tuple[float, float, float, float]]:
    """Return readings of a head that turns, none of norm 1."""
    return [(NORM * math.cos(0.05 * n), 0.6 * NORM * math.sin(0.05 * n), 0.0,
             0.8 * NORM * math.sin(0.05 * n)) for n in range(count)]


def check_transforms(ear: Listener, buffer: 'tf2_ros.Buffer', imu: Heard) -> None:
    """Hold each transform that tf2 took against the orientation with the same stamp."""
    ear.wait_for(imu, READINGS)
    said: list[Imu] = imu[:READINGS]
    ear.wait_until(lambda: buffer.can_transform(
        'cage', 'head', Time.from_msg(said[-1].header.stamp)), 'transforms came')
    for one in said:
        found = buffer.lookup_transform('cage', 'head', Time.from_msg(one.header.stamp)).transform
        assert (found.translation.x, found.translation.y, found.translation.z) == (0, 0, 0)
        for part in 'wxyz':
            assert getattr(found.rotation, part) == pytest.approx(
                getattr(one.orientation, part), abs=1e-9)


def test_a_recordings_readings_off_norm_1(tmp_path: Path) -> None:
    readings = turns(3 * READINGS)
    times = [50 * n for n in range(len(readings))]
    path = write_miniscope_daq(
        tmp_path / 'recording', scenes(len(readings)), times,
        rows=[(time, *reading) for time, reading in zip(times, readings, strict=True)])
    given = {'source': 'replay', 'replay.path': str(path), 'auto_start': False, **FRAMES}
    with scope_node(given), Listener() as ear:
        buffer = tf2_ros.Buffer()
        tf2_ros.TransformListener(buffer, ear.node)
        imu, rows = ear.listen('imu/data'), ear.listen('orientation_rows')
        assert ear.change_state('configure')
        ear.wait_for_match(imu, rows)
        assert ear.change_state('activate')
        check_transforms(ear, buffer, imu)
        ear.wait_for(rows, READINGS)
        for row, one, reading in zip(rows, imu, readings, strict=False):
            assert (row.qw, row.qx, row.qy, row.qz) == reading
            turn = one.orientation
            assert (turn.w, turn.x, turn.y, turn.z) == pytest.approx(
                [part / NORM for part in reading], abs=1e-12)


def test_a_simulated_scopes_readings() -> None:
    with scope_node({'source': 'simulated', **FRAMES}), Listener() as ear:
        buffer = tf2_ros.Buffer()
        tf2_ros.TransformListener(buffer, ear.node)
        imu = ear.listen('imu/data')
        ear.wait_until(lambda: buffer.can_transform('cage', 'head', Time()), 'transforms came')
        del imu[:]  # the first may have come before tf2 listened
        check_transforms(ear, buffer, imu)


def test_the_publisher_of_tf_goes_with_the_configuration() -> None:
    with scope_node({'source': 'simulated', 'auto_start': False, **FRAMES}), Listener() as ear:
        def publishers() -> int:
            return len(ear.node.get_publishers_info_by_topic('/tf'))

        reports = ear.listen('/diagnostics', DiagnosticArray)
        for _ in range(3):
            assert ear.change_state('configure')
            ear.wait_until(lambda: publishers() == 1, 'there is one')
            assert ear.change_state('cleanup')
            ear.wait_until(lambda: publishers() == 0, 'there is none')
        assert reports
