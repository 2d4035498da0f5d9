# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One node on a virtual box, from its first frame to its end, as another process hears it."""
from collections.abc import Iterator
import contextlib
import errno
from pathlib import Path
import random
from typing import Any

from box_scope import packets
from diagnostic_msgs.msg import DiagnosticArray
from listening import Heard, Listener, RELIABLE, stamp_ns
from miniscope_msgs.msg import ControlChange, FrameInfo
from node_process import NodeProcess, PATIENCE
import pytest
from virtual_daq import Box, BoxConfig, Fault, VirtualDaq


class Session:
    """A box, the node on it, and what is heard of it."""

    def __init__(self, box: Box, node: NodeProcess, listener: Listener) -> None:
        self.box, self.node, self.listener = box, node, listener
        self.images: Heard = listener.listen('image_raw', keep=lambda image: (
            int.from_bytes(bytes(image.data[:8]), 'little'), stamp_ns(image)))
        self.infos: Heard = listener.listen('frame_info')
        self.changes: Heard = listener.listen('control_changes')
        self.controls: Heard = listener.listen('controls')
        self.rows: Heard = listener.listen('orientation_rows')
        self.imu: Heard = listener.listen('imu/data')
        self.inputs: Heard = listener.listen('digital_inputs')
        self.diagnostics: Heard = listener.listen(
            '/diagnostics', DiagnosticArray, RELIABLE, keep=lambda message: {
                status.name.partition(': ')[2]: status for status in message.status})

    def hear(self, frames: int) -> None:
        """Return when so many more frames were heard of."""
        count = len(self.infos) + frames
        self.listener.wait_for(self.infos, count)
        last = stamp_ns(self.infos[count - 1])
        self.listener.wait_until(
            lambda: self.images and self.images[-1][1] >= last, 'the images came')

    def told(self, part: str, text: str) -> Any:
        """Return the first status of a part, from now on, that holds a text."""
        seen = len(self.diagnostics)
        return self.listener.wait_until(
            lambda: next((statuses[part] for statuses in self.diagnostics[seen:]
                          if part in statuses and text in statuses[part].message), None),
            f'diagnostics of {part} say {text!r}')

    def numbered(self) -> list[tuple[int, FrameInfo]]:
        """Return for each frame the box's number and what was told of it."""
        numbers = {stamp: number for number, stamp in self.images}
        return [(numbers[stamp_ns(info)], info) for info in list(self.infos)
                if stamp_ns(info) in numbers]


@contextlib.contextmanager
def session(
    folder: Path, config: dict[str, Any], parameters: dict[str, Any],
) -> Iterator[Session]:
    """Run a node, configured and inactive; it must end in order and in the dark."""
    with VirtualDaq(folder, [BoxConfig(image='lit', reset_time=0.2, **config)]) as rig:
        node = NodeProcess({'auto_start': False, **parameters})
        try:
            with Listener() as listener:
                heard = Session(rig.box, node, listener)
                assert listener.change_state('configure')
                listener.wait_for_match(heard.images, heard.infos, heard.rows, heard.imu)
                yield heard
            assert node.stop() == 0, node.output
            assert rig.box.led == 0.0
        finally:
            if node.alive:
                node.kill()


def check_light(heard: Session, name: str, place: int) -> int:
    """
    Hold every frame's exposure against what control_changes say of it.

    Returns of how many frames more than one value was possible.
    """
    records = {int(record['frame']): record for record in heard.box.frames}
    changes = [change for change in heard.changes if change.control == name]
    unsure = 0
    for number, info in heard.numbered():
        settled = [c for c in changes if 0 <= c.first_capture_index <= info.capture_index]
        coming = [c for c in changes if c.first_capture_index > info.capture_index
                  and stamp_ns(c) < stamp_ns(info) + 25_000_000]  # until its read-out ended
        possible = {settled[-1].raw_value, *(c.raw_value for c in coming)}
        unsure += bool(coming)
        record = records[number]
        assert {record['raw_start'][place], record['raw_end'][place]} <= possible, info
    return unsure


def test_light_loss_and_sync_of_an_acquisition(tmp_path: Path) -> None:
    parameters = {'led': 50.0, 'max_led': 80.0}
    with session(tmp_path, {'jitter': 0.001, 'rate': 60.0}, parameters) as heard:
        box, listener = heard.box, heard.listener
        draw = random.Random(3)
        assert box.led == 0.0
        assert listener.change_state('activate')
        heard.hear(30)
        kinds = (Fault.LOST, Fault.UNFINISHED, Fault.SHORT)
        box.plan({box.frame + n: kinds[n % 3] for n in draw.sample(range(10, 80), 20)})
        for value in (10.0, 0.0, 80.0, 33.3, 5.0):
            assert listener.set_each(led=value)[0].successful
            heard.hear(12)

        # What is no transition from here is refused, and what is too bright, too.
        for wrong in ('activate', 'configure', 'cleanup'):
            assert not listener.change_state(wrong)
        assert listener.state == 'active'
        refusals = [
            listener.set_each(led=80.5)[0], listener.set_each(max_led=100.0)[0],
            listener.set_together(max_led=100.0, led=90.0), listener.set_each(led=float('nan'))[0]]
        assert not any(refusal.successful for refusal in refusals)
        assert 'led 80.5 is above max_led 80' in refusals[0].reason
        assert 'only while the node is unconfigured' in refusals[1].reason
        assert 'only while the node is unconfigured' in refusals[2].reason
        heard.hear(12)
        assert listener.change_state('deactivate')
        toggles = box.sync_toggles
        heard.hear(0)

        frames = heard.numbered()
        assert len(frames) == len(heard.infos), 'an image is missing'
        lost = sum(info.lost_before for _, info in frames)
        assert frames[-1][1].capture_index == len(frames) - 1 + lost
        assert sum(info.damaged_before for _, info in frames) > 0
        assert frames[0][1].frame_index == frames[0][1].sync_edge == 0
        assert toggles == frames[-1][1].sync_edge + 1
        records = {int(record['frame']): record for record in box.frames}
        assert all(records[number]['sync'] == info.sync_edge for number, info in frames)
        assert check_light(heard, 'led', 0) < 30
        assert box.frames['light_end'].max() == pytest.approx(0.8, abs=0.003)

        listener.wait_until(
            lambda: heard.changes[-1].reason == ControlChange.REASON_STOP, 'darkness was told')
        in_force = dict(zip(heard.controls[-1].names, heard.controls[-1].values, strict=True))
        assert in_force == {'led': 0.0, 'focus': 0.0, 'gain': 1.0, 'frame_rate': 30.0}

        # Without the sync output there is no edge, and none is told.
        assert listener.set_each(sync_output=False)[0].successful
        assert listener.change_state('activate')
        heard.infos.clear()
        heard.hear(5)
        assert listener.change_state('deactivate')
        assert {info.sync_edge for info in heard.infos} == {-1}
        assert box.sync_toggles == toggles
        assert listener.change_state('cleanup')
        assert not listener.set_together(max_led=2.0, led=3.0).successful
        assert not listener.set_each(max_led=2.0)[0].successful, 'led is 5'
        assert listener.set_together(max_led=2.0, led=2.0).successful


def test_a_hard_reset_is_recovered_from_by_the_node_itself(tmp_path: Path) -> None:
    with session(tmp_path, {'rate': 60.0}, {'led': 50.0}) as heard:
        box, listener = heard.box, heard.listener
        assert listener.change_state('activate')
        heard.hear(5)
        answer = listener.trigger('hard_reset')
        assert answer.success, answer.message
        heard.node.wait_for_output('the device is back')
        assert b'\xfe\x01' in box.executed
        heard.hear(5)
        assert box.led > 0.4

        box.freeze()
        box.refuse('reset', errno.EACCES)
        answer = listener.trigger('hard_reset')
        assert not answer.success
        assert 'no permission to open /dev/bus/usb/' in answer.message
        assert 'udev rule' in answer.message
        box.refuse('reset', 0)
        answer = listener.trigger('hard_reset')
        # The node may have reset it by itself just before.
        assert answer.success or 'no DAQ box at USB port' in answer.message
        listener.wait_until(
            lambda: len(heard.node.said('the device is back')) >= 2, 'it was back again')
        heard.hear(5)
        assert box.led > 0.4
        check_light(heard, 'led', 0)


def test_a_freeze_at_the_end_is_loud_and_mended_when_the_box_is_back(tmp_path: Path) -> None:
    with session(tmp_path, {'rate': 60.0}, {'led': 50.0}) as heard:
        box, listener = heard.box, heard.listener
        assert listener.change_state('activate')
        heard.hear(5)
        box.refuse('reset', errno.EACCES)
        box.freeze()
        assert listener.change_state('deactivate')
        heard.node.wait_for_output('THE LIGHT MAY STILL BE ON')
        assert heard.told('light', 'MAY STILL BE ON').level == b'\2'
        assert box.led > 0.4
        box.reset()
        heard.node.wait_for_output('the device is back')
        assert box.led == 0.0
        assert listener.state == 'inactive'


def test_orientation_is_published_only_where_it_can_be_believed(tmp_path: Path) -> None:
    # With this kernel the node reads over USB, by its own choice.
    config = {'rate': 30.0, 'kernel': 'new_kernel'}
    with session(tmp_path, config, {'orientation.stale_after': 2.0}) as heard:
        box, listener = heard.box, heard.listener
        assert heard.node.said('transport usb: Linux 6.12.95 answers readings from a cache')
        assert listener.change_state('activate')

        def verdicts(fault: Fault, frames: int = 12) -> list[int]:
            """Let something befall the readings, and return what became of five or more."""
            box.always(fault)
            heard.hear(frames - 5)
            begin = len(heard.infos)

            def judged() -> list[int]:
                # On a busy computer many readings come too late for their frames.
                return [info.orientation for info in heard.infos[begin:]
                        if info.orientation != FrameInfo.ORIENTATION_NONE]

            listener.wait_until(lambda: len(judged()) >= 5, 'five readings came in time')
            seen = judged()
            box.always(Fault.NONE)
            heard.hear(6)
            return seen

        heard.hear(10)
        assert set(verdicts(Fault.NONE)) == {FrameInfo.ORIENTATION_PUBLISHED}
        assert {info.stamp_source for info in heard.infos} <= {
            FrameInfo.STAMP_ARRIVAL, FrameInfo.STAMP_PREDICTED}
        assert set(verdicts(Fault.QUAT_BAD)) == {FrameInfo.ORIENTATION_INVALID}
        assert set(verdicts(Fault.QUAT_ZERO)) == {FrameInfo.ORIENTATION_INVALID}
        assert set(verdicts(Fault.QUAT_FROZEN)) == {FrameInfo.ORIENTATION_REPEATED}
        box.always(Fault.QUAT_FROZEN)
        assert 'the animal rests, or the sensor is frozen' in heard.told(
            'orientation', 'has not changed').message
        heard.hear(5)
        assert heard.infos[-1].orientation in (
            FrameInfo.ORIENTATION_STALE, FrameInfo.ORIENTATION_NONE)
        box.always(Fault.NONE)
        heard.hear(10)

        # A brown-out: the init list is sent again each time, and that mends it.
        for times in (1, 2):
            before = len(box.executed)
            box.brown_out()
            box.wait(
                lambda start=before: packets('50 3D 0C')[0] in box.executed[start:], PATIENCE)
            heard.node.wait_for_output(f'restart {times} since the node was configured')
            heard.hear(10)
            assert FrameInfo.ORIENTATION_PUBLISHED in [
                info.orientation for info in heard.infos[-5:]]
        assert 'the orientation sensor reads all zero' in heard.node.said('has restarted')[0]

        valid = {info.frame_index for info in heard.infos
                 if info.orientation == FrameInfo.ORIENTATION_PUBLISHED}
        listener.wait_until(
            lambda: {row.frame_index for row in heard.rows} >= valid, 'all rows came')
        assert {row.frame_index for row in heard.rows} == valid
        assert len(heard.imu) == len(heard.rows)

        box.trigger(1)
        listener.wait_until(
            lambda: heard.inputs and heard.inputs[-1].levels == 1, 'the trigger was told')
        box.trigger(0)
        listener.wait_until(lambda: heard.inputs[-1].levels == 0, 'its end was told')
        heard.hear(2)
        assert [message.levels for message in heard.inputs][-2:] == [1, 0]


def test_readings_out_of_the_kernels_cache_are_not_published(tmp_path: Path) -> None:
    with session(tmp_path, {'rate': 60.0, 'kernel': 'new_kernel'},
                 {'transport': 'v4l2'}) as heard:
        assert heard.listener.change_state('activate')
        heard.hear(20)
        assert {info.orientation for info in heard.infos} <= {
            FrameInfo.ORIENTATION_STALE, FrameInfo.ORIENTATION_INVALID,
            FrameInfo.ORIENTATION_NONE}
        assert {info.device_frame_count for info in heard.infos} == {-1}
        assert {info.digital_inputs for info in heard.infos} == {-1}
        status = heard.told('orientation', 'since the stream began')
        assert status.level == b'\2'
        assert 'set transport to usb' in status.message
        assert not heard.rows
        assert not heard.imu
