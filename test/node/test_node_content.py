# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What pictures show, as a node tells of it: in frame_info, diagnostics and the last line."""
from pathlib import Path

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from listening import Listener, stamp_ns
from miniscope_msgs.msg import ControlChange
from miniscope_ros.acquisition.frame_content import describe_faults
from miniscope_ros.model import Content
from node_process import scope_node
import numpy as np
from picture_bank import make_bank, Places
from virtual_daq import BoxConfig, VirtualDaq


def test_the_content_of_known_frames_is_published_exactly(tmp_path: Path) -> None:
    bank, expected = make_bank()
    with VirtualDaq(tmp_path, [BoxConfig(image=bank, rate=30.0)]), Listener() as ear, scope_node(
            {'led': 20.0, 'auto_start': False, 'diagnostics_period': 0.2}) as node:
        said = ear.listen('/diagnostics', DiagnosticArray)
        assert ear.change_state('configure')
        images = ear.listen('image_raw', keep=lambda image: (
            stamp_ns(image), np.frombuffer(image.data, np.uint8).reshape(608, 608).copy()))
        infos, changes = ear.listen('frame_info'), ear.listen('control_changes')
        assert ear.change_state('activate')
        ear.wait_until(lambda: sum(not info.lost_before for info in infos[1:]) > 2 * len(bank),
                       'the bank was sent twice')
        ear.wait_until(lambda: any(
            status.name.endswith(': picture') and status.level == DiagnosticStatus.WARN
            and 'faulty pictures since the last message' in status.message
            for array in said for status in array.status), 'diagnostics tell of it')
        assert ear.change_state('deactivate')
        line = node.wait_for_output('acquisition ended')
        published = int(line.partition(' = ')[2].split()[0])
        ear.wait_until(lambda: len(infos) == len(images) == published, 'all arrived')
        ear.wait_until(lambda: changes and changes[-1].reason == ControlChange.REASON_STOP,
                       'the end is told')
        dark_ns = stamp_ns(next(change for change in reversed(changes) if change.control == 'led'))
        told = Places(bank, expected)
        for (stamp, image), info in zip(images, infos, strict=True):
            assert stamp == stamp_ns(info)
            told.add(image, Content(info.content), info.lost_before)
        judged, wrong = told.judge(sum(stamp < dark_ns for stamp, _ in images))
        assert judged > 2 * len(bank) and not wrong
        assert set(told.faults) == {Content.BLOCKS_MISPLACED, Content.DARK, Content.REPEATED}
        assert line.endswith(f'; faulty pictures: {describe_faults(told.faults)}')
