# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Replay of a bag of ours gives back what the bag has: edges, inputs, controls and changes."""
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from listening import KEPT, LATCHED, Listener, RELIABLE
from miniscope_msgs.msg import ControlChange, FrameInfo
from miniscope_ros.acquisition.frame_accounting import Frame, FrameAccounting
from miniscope_ros.acquisition.frame_content import FrameContent
from miniscope_ros.acquisition.ros_clock import RosTime
from miniscope_ros.errors import EndOfData
from miniscope_ros.model import Content, ControlEvent, ReadingStatus, Reason
from miniscope_ros.recordings.formats import open_recording
from miniscope_ros.sources.replay import ReplaySource
from node_process import scope_node
import psutil
import pytest
from recorded_bag import EPOCH_NS, Scope, write_bag

FRAMES = 24
FIRST = 3  # frame_index and capture_index of the first recorded frame
EDGE = 40  # its sync edge
CONTENTS = (Content.OK, Content.BANDED, Content.DARK, Content.REPEATED)


class Wired(Scope):
    """A scope with inputs and a sync output, whose light is changed twice."""

    def messages(self, types: Any) -> Iterator[tuple[str, int, Any]]:
        number = -1
        for topic, stamp, message in super().messages(types):
            if topic == 'frame_info':
                number += 1
                message.sync_edge = -1 if number == 5 else EDGE + number
                message.digital_inputs = 1 if 8 <= number < 12 else 0
                message.content = CONTENTS[number % len(CONTENTS)]
            elif topic == 'control_changes' and message.reason == 1:
                message.raw_value = 77
                message.first_capture_index = FIRST + 15
            yield topic, stamp, message


@pytest.fixture(scope='module', name='bag')
def fixture_bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bag(tmp_path_factory.mktemp('wired') / 'bag', Wired(
        frames=FRAMES, first=FIRST, led_change=(13, 55.0)))


def play(source: ReplaySource, count: int) -> tuple[list[Frame], list[tuple[int, ControlEvent]]]:
    """Return frames and, with the number of the frame that follows, events; all without loop."""
    content = FrameContent()
    content.begin_stream(source.open(Reason.START))
    accounting = FrameAccounting(source, RosTime())
    source.activate(Reason.START)
    accounting.begin()
    frames: list[Frame] = []
    events: list[tuple[int, ControlEvent]] = []

    def take() -> None:
        events.extend((len(frames), event) for event in source.take_events()
                      if isinstance(event, ControlEvent))

    while len(frames) < count:
        try:
            found = source.read(20.0)
        except EndOfData:
            break
        assert found is not None
        take()
        frames.append(accounting.account(
            found, ReadingStatus.NONE, content.check(found), False))
    take()
    source.close()
    return frames, events


def test_edges_and_inputs_are_the_recorded_ones(bag: Path) -> None:
    frames, _ = play(ReplaySource(str(bag), rate=1000.0, loop=False, stamps='now'), 1000)
    assert [frame.sync_edge for frame in frames] == [
        -1 if number == 5 else EDGE + number for number in range(FRAMES)]
    assert [frame.sample.digital_inputs for frame in frames] == [
        int(8 <= number < 12) for number in range(FRAMES)]


def test_what_pictures_show_is_as_it_was_found_when_recorded(bag: Path) -> None:
    frames, _ = play(ReplaySource(str(bag), rate=1000.0, loop=False, stamps='now'), 1000)
    assert [frame.content for frame in frames] == [
        CONTENTS[number % len(CONTENTS)] for number in range(FRAMES)]


@pytest.mark.parametrize('stamps', ['now', 'original'])
def test_controls_and_their_changes_are_the_recorded_ones(bag: Path, stamps: Any) -> None:
    _, events = play(ReplaySource(str(bag), rate=1000.0, loop=False, stamps=stamps), 1000)
    assert [(place, event.control, event.value, event.raw, event.reason,
             event.first_capture_index) for place, event in events] == [
        (0, 'led', 12.5, 223, Reason.START, 0), (0, 'focus', -5.0, 122, Reason.START, 0),
        (0, 'gain', 2.0, 228, Reason.START, 0), (0, 'frame_rate', 20.0, 5000, Reason.START, 0),
        (13, 'led', 55.0, 77, Reason.USER, 15), (FRAMES, 'led', 0.0, 0, Reason.STOP, -1)]
    scope = Wired(frames=FRAMES, first=FIRST, led_change=(13, 55.0))
    if stamps == 'original':
        assert events[4][1].stamp_ns == pytest.approx(scope.stamp(13) - 1, abs=1000)
        assert events[0][1].stamp_ns == pytest.approx(EPOCH_NS, abs=1000)
    else:
        assert all(event.stamp_ns is None for _, event in events)
        sent = [event.sent_ns for _, event in events]
        assert sent == sorted(sent)


def test_a_loop_tells_everything_again_with_rising_numbers(bag: Path) -> None:
    frames, events = play(
        ReplaySource(str(bag), rate=1000.0, loop=True, stamps='now'), 2 * FRAMES)
    edges = [frame.sync_edge for frame in frames]
    assert edges[FRAMES:] == [-1 if edge < 0 else edge + FRAMES for edge in edges[:FRAMES]]
    lights = [(place, event.value, event.first_capture_index)
              for place, event in events if event.control == 'led']
    assert lights[:4] == [(0, 12.5, 0), (13, 55.0, 15), (FRAMES, 12.5, FRAMES),
                          (FRAMES + 13, 55.0, FRAMES + 15)]


def test_a_node_publishes_what_was_recorded(bag: Path) -> None:
    parameters = {'source': 'replay', 'replay.path': str(bag), 'replay.rate': 10.0,
                  'auto_start': False}
    with scope_node(parameters), Listener() as ear:
        assert ear.change_state('configure')
        infos = ear.listen('frame_info', FrameInfo, RELIABLE)
        heard = {topic: ear.listen(topic, KEPT[topic], LATCHED)
                 for topic in ('controls', 'control_changes', 'digital_inputs')}
        ear.wait_for_match(infos, *heard.values())
        assert ear.change_state('activate')
        ear.wait_for(infos, FRAMES)
        changes = heard['control_changes']
        ear.wait_until(lambda: changes and changes[-1].reason == ControlChange.REASON_STOP,
                       'the light of the recording went out')
        assert [info.sync_edge for info in infos] == [
            -1 if number == 5 else EDGE + number for number in range(FRAMES)]
        assert [info.digital_inputs for info in infos[7:13]] == [0, 1, 1, 1, 1, 0]
        assert [(change.control, change.value, change.first_capture_index)
                for change in changes if change.control == 'led'] == [
            ('led', 12.5, 0), ('led', 55.0, 15), ('led', 0.0, -1)]
        ear.wait_until(lambda: heard['controls'][-1].values[0] == 0.0, 'all controls are told')
        assert list(heard['controls'][-1].names) == ['led', 'focus', 'gain', 'frame_rate']
        assert [inputs.levels for inputs in heard['digital_inputs']] == [0, 1, 0]


def test_memory_does_not_grow_while_a_bag_is_played(tmp_path: Path) -> None:
    bag = write_bag(tmp_path / 'bag', Scope(size=(608, 608), frames=400))
    process = psutil.Process()
    frames = open_recording(str(bag)).frames()
    for _ in range(50):
        next(frames)
    before = process.memory_info().rss
    assert sum(1 for _ in frames) == 350
    assert process.memory_info().rss - before < 350 * 608 * 608 / 5
