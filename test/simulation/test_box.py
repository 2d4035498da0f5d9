# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The simulated box behaves as hardware does: packets, light, loss, counters, restart."""
from itertools import pairwise
import time

import cv2
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.daq.packets import decode_words, encode, HARD_RESET, START_ORIENTATION
from miniscope_ros.errors import DeviceError, DeviceLost
from miniscope_ros.simulation.box import SimulatedTransport
from miniscope_ros.simulation.frame_clock import Fate
from miniscope_ros.simulation.sensor import BLACK
from miniscope_ros.transports import v4l2_controls as controls
import numpy as np
import pytest

TYPES = load_catalogue()
V4 = TYPES['Miniscope_V4_BNO']
FAST = 8.0  # times the rate that is set, so that the tests need not wait for long
PERIOD = 1e9 / 30 / FAST  # of the V4 as it starts [ns]
PATIENCE = 20.0  # [s], far more than anything here takes


class Box:
    """A simulated box in use, and every frame that came out of it."""

    def __init__(self, device_type=V4, *, loss_rate=0.0, buffers=32, **options):
        self.transport = SimulatedTransport(
            device_type, loss_rate=loss_rate, **{'true_rate': FAST, **options})
        self.type = device_type
        self.greys = {}
        self.buffers = buffers

    def opened(self):
        self.transport.open(self.type.width, self.type.height)
        return self

    def start(self):
        self.opened()
        self.transport.start(self.buffers)
        return self

    def take(self, count):
        """Take some frames; return sequence number and stamp of each."""
        taken = []
        for _ in range(count):
            buffer = self.transport.dequeue(PATIENCE)
            assert buffer is not None and not buffer.damaged
            frame = next(
                frame for frame in reversed(self.transport.frames)
                if frame.stamp_ns == buffer.stamp_ns)
            assert (frame.sequence, frame.fate) == (buffer.sequence, Fate.KEPT)
            image = buffer.data.reshape(self.type.height, self.type.width, 2)
            self.greys[frame.number] = image[..., 0].copy()
            taken.append((buffer.sequence, buffer.stamp_ns))
            self.transport.requeue(buffer)
        return taken

    def send(self, *packets):
        for packet in packets:
            for control, word in zip(
                    (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS), encode(packet),
                    strict=True):
                self.transport.write_control(control, word)

    def control(self, **values):
        for name, value in values.items():
            self.send(*self.type.controls[name].packets(value))

    def settle(self):
        """Take frames up to one that is wholly under what was sent; return that one."""
        sent = self.latest()
        while not self.greys or max(self.greys) < sent + 3:
            self.take(1)
        return self.greys[max(self.greys)]

    def frame(self, number):
        """Return what is known of a frame that was finished."""
        return next(frame for frame in reversed(self.transport.frames)
                    if frame.number == number and frame.fate is not Fate.LOST_AT_THE_SOURCE)

    def time_s(self, number):
        """Return the scene's time at a frame."""
        return self.frame(number).time_s

    def signal(self, number):
        """Return how much brighter than black a frame is."""
        return self.greys[number].mean() - BLACK

    def signal_under(self, number, exposure):
        """Return the same, had the frame been exposed like that."""
        frame = self.frame(number)
        picture = np.empty((self.type.height, self.type.width, 2), np.uint8)
        self.transport.scene.render(frame.time_s, exposure, picture, frame.dose_s)
        return picture[..., 0].mean() - BLACK

    def latest(self):
        return self.transport.frames[-1].number if self.transport.frames else 0

    def pass_frames(self, count):
        """Let frames pass without taking them."""
        begun = len(self.transport.frames)
        deadline = time.monotonic() + PATIENCE
        while len(self.transport.frames) < begun + count:
            assert time.monotonic() < deadline
            self.transport.waiting()


@pytest.fixture
def box():
    made = Box().start()
    yield made
    made.transport.close()


def sharpness(image):
    return cv2.Laplacian(cv2.GaussianBlur(image.astype(float), (0, 0), 2), cv2.CV_64F).var()


def test_frames_come_at_the_rate_with_the_stamp_of_their_first_data(box):
    taken = box.take(10)
    for (sequence, stamp), (next_sequence, next_stamp) in pairwise(taken):
        periods = next_sequence - sequence
        assert next_stamp - stamp == pytest.approx(periods * PERIOD, abs=periods)


def test_a_buffer_is_ready_after_the_read_out(box):
    buffer = box.transport.dequeue(PATIENCE)
    assert time.monotonic_ns() >= buffer.stamp_ns + PERIOD * 22 / 33 - 1


def test_no_frame_within_the_timeout_is_none(box):
    box.take(1)
    while box.transport.waiting():
        box.take(1)
    # The rest of this period; a frame may come in between, but not two thousand.
    assert [box.transport.dequeue(0.0) for _ in range(2000)].count(None) > 0


def test_bytes_are_yuyv_of_the_scene():
    box = Box(seed=7).start()
    box.control(led=20)
    buffers = [box.transport.dequeue(PATIENCE) for _ in range(6)]
    frame = next(f for f in box.transport.frames if f.stamp_ns == buffers[-1].stamp_ns)
    expected = np.zeros((608, 608, 2), np.uint8)
    box.transport.scene.render(frame.time_s, frame.exposure, expected, frame.dose_s)
    assert buffers[-1].data.shape == (2 * 608 * 608,)
    np.testing.assert_array_equal(buffers[-1].data, expected.ravel())
    assert (buffers[-1].data[1::2] == 128).all()
    # Buffers not given back are left alone.
    assert len({buffer.index for buffer in buffers}) == 6
    assert buffers[0].data[::2].mean() == pytest.approx(BLACK, abs=0.1)


def test_the_same_seed_sends_the_same_frames():
    boxes = [Box(seed=seed) for seed in (3, 3, 4)]
    for box in boxes:
        box.opened()
        box.control(led=20)
        box.transport.start(8)
        box.take(6)
        assert list(box.greys) == [1, 2, 3, 4, 5, 6]
    one, two, other = (box.greys for box in boxes)
    for number in one:
        np.testing.assert_array_equal(one[number], two[number])
        assert number < 3 or (one[number] != other[number]).mean() > 0.5


def test_it_is_dark_until_the_led_is_set(box):
    box.take(3)
    box.control(led=20)
    executed_at = []
    while not executed_at:
        box.take(1)
        executed_at = [number for number, _ in box.transport.executed]
    box.settle()
    for number, image in box.greys.items():
        lit = image.mean() > BLACK + 1
        assert lit == (number > executed_at[0]), number


def test_the_frame_after_a_change_is_mixed_and_the_next_one_wholly_new():
    box = Box(true_rate=1.0).start()  # no frame may be dropped for want of time
    box.control(led=5)
    box.settle()
    box.transport.executed.clear()
    box.control(led=25)
    box.settle()
    box.take(3)
    first = max(number for number, _ in box.transport.executed)
    old = box.frame(first).exposure
    for number, share in ((first, 1), (first + 1, 3), (first + 2, 5), (first + 3, 5)):
        # The tissue goes on from frame to frame, by how much depends on this computer.
        assert box.signal(number) == pytest.approx(share * box.signal_under(number, old), rel=0.05)


def test_a_gain_and_a_rate_change_brightness_in_proportion(box):
    box.control(led=4)
    box.settle()
    plain = box.frame(max(box.greys)).exposure
    for share, values in ((3.5, {'gain': 3.5}), (2.0, {'gain': 1, 'frame_rate': 15})):
        box.control(**values)
        box.settle()
        number = max(box.greys)
        assert box.signal(number) == pytest.approx(
            share * box.signal_under(number, plain), rel=0.05)
    (one, stamp), (two, next_stamp) = box.take(2)
    assert (next_stamp - stamp) / (two - one) == pytest.approx(2 * PERIOD, rel=1e-3)


def test_every_led_level_is_brighter_than_the_one_below(box):
    signals = []
    for value in (0, 1, 2, 5, 10, 20, 40):
        box.control(led=value)
        signals.append(box.settle().mean())
    assert signals == sorted(signals)
    assert signals[0] == pytest.approx(BLACK, abs=0.1)
    box.control(led=0)
    assert box.settle().mean() == pytest.approx(BLACK, abs=0.1)


def test_the_focus_is_best_where_the_type_starts(box):
    box.control(led=20)
    best = sharpness(box.settle())
    for focus in (-60, 60):
        box.control(focus=focus)
        assert sharpness(box.settle()) < best / 2
    box.control(focus=0)
    assert sharpness(box.settle()) > best / 1.5  # other cells are active now


def test_both_lights_of_a_two_colour_scope_shine():
    box = Box(TYPES['Miniscope_V4_2C_Manual']).start()
    box.control(led2=10)
    one = box.settle().mean() - BLACK
    box.control(led=10)
    assert box.settle().mean() - BLACK == pytest.approx(2 * one, rel=0.05)


def test_packets_run_at_the_end_of_a_frame_in_order_and_not_before():
    box = Box().opened()
    box.send(*V4.init)
    box.control(led=20)
    time.sleep(2 * PERIOD / 1e9)  # no stream, no frames, however long it takes
    assert not box.transport.control_range(0) and not box.transport.executed
    assert box.transport.values['led'] == 0
    box.transport.start(4)
    assert not box.transport.executed
    box.take(1)
    expected = [*V4.init, *V4.controls['led'].packets(20)]
    assert list(box.transport.executed) == [(1, packet) for packet in expected]
    assert box.transport.values['led'] == 20


def test_packets_of_a_closed_session_wait_for_the_next_stream(box):
    box.take(1)
    box.transport.stop()
    box.control(led=20)
    box.transport.close()
    assert box.start().transport.values['led'] == 0
    box.take(1)
    assert box.transport.values['led'] == 20


@pytest.mark.parametrize('name', TYPES)
def test_all_controls_of_all_types_reach_their_registers(name):
    box = Box(TYPES[name]).opened()
    box.send(*box.type.init)
    extremes = {
        control.name: (min(control.choices), max(control.choices)) if control.choices
        else (control.minimum, control.maximum)
        for control in box.type.controls.values()}
    for end in (0, 1):
        box.control(**{control: ends[end] for control, ends in extremes.items()})
        box.transport.start(2)
        box.pass_frames(1)
        assert box.transport.values == pytest.approx(
            {control: ends[end] for control, ends in extremes.items()})
        box.transport.stop()


def test_a_contrast_write_throws_a_half_received_packet_away(box):
    box.transport.write_control(controls.CONTRAST, 0x03C0)
    box.transport.write_control(controls.GAMMA, 0x101F)
    box.send(START_ORIENTATION)
    box.transport.write_control(controls.SHARPNESS, 0)  # belongs to nothing
    for control in (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS):
        box.transport.write_control(control, 0)
    box.take(2)
    assert [packet for _, packet in box.transport.executed] == [START_ORIENTATION, b'']


def test_the_queue_holds_64_packets_and_runs_over_without_a_word():
    for count, executed in ((64, 64), (65, 1), (70, 6)):
        box = Box().opened()
        for number in range(count):
            box.send(bytes((0xEE, 8, number, 2)))
        box.transport.start(2)
        box.take(1)
        assert [packet[2] for _, packet in box.transport.executed] == list(
            range(count))[-executed:]


def test_losses_show_in_sequence_and_time_as_they_should():
    box = Box(loss_rate=(0.1, 0.15), buffers=64).start()
    taken = box.take(150)
    log = list(box.transport.frames)
    places = {frame.stamp_ns: place for place, frame in enumerate(log)}
    for (sequence, stamp), (next_sequence, next_stamp) in pairwise(taken):
        between = log[places[stamp] + 1:places[next_stamp]]
        unfinished = sum(frame.fate is Fate.LOST_AT_THE_SOURCE for frame in between)
        assert next_sequence - sequence == len(between) - unfinished + 1
        assert (next_stamp - stamp) / PERIOD == pytest.approx(len(between) + 1, abs=1e-3)
    fates = [frame.fate for frame in log]
    assert fates.count(Fate.LOST_ON_THE_WAY) == pytest.approx(0.1 * len(fates), abs=15)
    assert fates.count(Fate.LOST_AT_THE_SOURCE) == pytest.approx(0.15 * len(fates), abs=18)
    # The box's counter goes by what it finished.
    assert log[-1].number == len(fates) - fates.count(Fate.LOST_AT_THE_SOURCE)
    # The same seed loses the same frames.
    again = Box(loss_rate=(0.1, 0.15), buffers=64).start()
    again.take(100)
    received = {Fate.KEPT, Fate.OVERRUN}
    assert [fate if fate not in received else None for fate in fates[:100]] == [
        frame.fate if frame.fate not in received else None
        for frame in list(again.transport.frames)[:100]]


def test_one_loss_rate_is_shared_half_and_half():
    box = Box(TYPES['Miniscope_V3'], loss_rate=0.4, buffers=1, true_rate=100.0).start()
    box.pass_frames(600)
    fates = [frame.fate for frame in box.transport.frames]
    for fate in (Fate.LOST_ON_THE_WAY, Fate.LOST_AT_THE_SOURCE):
        assert fates.count(fate) == pytest.approx(0.2 * len(fates), abs=0.06 * len(fates))


def test_packets_do_not_run_at_a_frame_that_the_box_never_finishes():
    box = Box(loss_rate=(0.0, 1.0)).start()
    box.control(led=20)
    box.pass_frames(5)
    assert not box.transport.executed and box.transport.dequeue(0.0) is None


def test_sync_toggles_once_for_every_frame_that_the_box_finishes():
    box = Box(loss_rate=(0.2, 0.2)).start()
    box.take(3)
    assert box.transport.toggles == 0
    box.transport.write_control(controls.SATURATION, 1)
    before = box.latest()
    box.take(30)
    box.transport.write_control(controls.SATURATION, 0)
    finished = box.latest() - before
    assert box.transport.toggles == finished > 0
    box.take(3)
    assert box.transport.toggles == finished


def test_a_full_ring_drops_frames_and_the_sequence_goes_on():
    box = Box(buffers=3).start()
    box.pass_frames(10)
    assert [sequence for sequence, _ in box.take(3)] == [0, 1, 2]
    sequence, _ = box.take(1)[0]
    assert sequence >= 10
    assert [frame.fate for frame in box.transport.frames][:10] == 3 * [Fate.KEPT] + 7 * [
        Fate.OVERRUN]


def test_the_counter_does_not_begin_anew_with_a_stream(box):
    box.take(3)
    box.transport.stop()
    before = box.transport.read_controls([controls.EXPOSURE_ABSOLUTE])[0]
    assert before == box.latest() >= 3
    box.transport.start(4)
    (sequence, _), = box.take(1)
    assert sequence == 0
    assert box.transport.read_controls([controls.CONTRAST])[0] == box.latest() > before


def read_orientation(box):
    """Read the quaternion and the number of the frame that it belongs to."""
    low, high, count = box.transport.read_controls(
        [controls.PAN_ABSOLUTE, controls.TILT_ABSOLUTE, controls.EXPOSURE_ABSOLUTE])
    return decode_words(low, high), count


def test_the_quaternion_is_the_truth_of_its_frame(box):
    box.take(1)
    assert read_orientation(box)[0] == (0, 0, 0, 0)
    box.send(START_ORIENTATION)
    box.settle()
    readings = {}
    while len(readings) < 15:
        box.take(1)
        quaternion, number = read_orientation(box)
        assert quaternion == box.transport.head.raw(box.time_s(number))
        assert np.linalg.norm(quaternion) / 16384 == pytest.approx(1, abs=1e-3)
        assert np.divide(quaternion, 16384) == pytest.approx(
            np.array(box.transport.head.orientation(box.time_s(number))), abs=1e-4)
        readings[number] = quaternion
    assert len(set(readings.values())) == 15  # it begins in movement
    old_way = [controls.SATURATION, controls.HUE, controls.GAIN, controls.BRIGHTNESS]
    *words, number = box.transport.read_controls([*old_way, controls.EXPOSURE_ABSOLUTE])
    assert words == [part & 0xFFFF for part in box.transport.head.raw(box.time_s(number))]


def test_a_scope_without_the_sensor_has_no_quaternion():
    box = Box(TYPES['Miniscope_V4']).start()
    box.send(START_ORIENTATION)
    box.settle()
    assert read_orientation(box)[0] == (0, 0, 0, 0)


def test_the_interface_version_is_answered(box):
    box.transport.write_control(controls.SATURATION, 2)
    assert box.transport.read_controls([controls.HUE]) == [2]
    box.transport.write_control(controls.SATURATION, 0)
    assert box.transport.read_controls([controls.HUE]) == [0]


def test_what_it_has_and_what_it_has_not(box):
    for control in (controls.CONTRAST, controls.GAMMA, controls.SHARPNESS):
        assert box.transport.control_range(control) == (0, 65535)
    assert box.transport.read_controls([controls.GAMMA]) == [0]
    assert box.transport.find_unit(bytes(16)) is None
    assert box.transport.control_range(0x123) is None
    with pytest.raises(DeviceError, match='0x123'):
        box.transport.read_controls([0x123])
    with pytest.raises(DeviceError, match='65536; it is 0 to 65535'):
        box.transport.write_control(controls.GAMMA, 65536)
    with pytest.raises(DeviceError, match='extension unit 3'):
        box.transport.read_unit(3, 1, 3)


def test_what_cannot_be_done_now_is_an_error_that_says_so():
    box = Box()
    with pytest.raises(DeviceError, match='not open; open it first'):
        box.transport.write_control(controls.CONTRAST, 0)
    with pytest.raises(DeviceError, match='608x608 pixels, not 752x480'):
        box.transport.open(752, 480)
    box.opened()
    with pytest.raises(DeviceError, match='close it first'):
        box.opened()
    with pytest.raises(DeviceError, match='start it first'):
        box.transport.dequeue(0.0)
    box.transport.start(2)
    with pytest.raises(DeviceError, match='stop it first'):
        box.transport.start(2)
    for _ in range(2):
        box.transport.stop()
    for _ in range(2):
        box.transport.close()


def restarted(box):
    """Open the box again as soon as it is back."""
    deadline = time.monotonic() + PATIENCE
    refused = 0
    while True:
        try:
            box.start()
        except DeviceError as error:
            assert 'restarting' in str(error) and time.monotonic() < deadline
            refused += 1
        else:
            return refused


@pytest.mark.parametrize('way', ('packet', 'port'))
def test_a_hard_reset_loses_the_device_which_comes_back_as_after_power_up(box, way):
    box.send(START_ORIENTATION)
    box.control(led=20, gain=3.5)
    box.settle()
    if way == 'packet':
        box.send(HARD_RESET, START_ORIENTATION)  # what comes after it is forgotten
        with pytest.raises(DeviceLost, match='restarted'):
            box.take(100)
        assert box.transport.executed[-1][1] == HARD_RESET
    else:
        box.transport.reset_port()
    for call in (
            lambda: box.transport.dequeue(0.1), lambda: box.transport.read_controls([]),
            lambda: box.send(START_ORIENTATION), box.transport.waiting):
        with pytest.raises(DeviceLost, match='open it again'):
            call()
    box.transport.close()
    assert restarted(box) > 0
    assert box.transport.values == {'led': 0, 'focus': 0, 'gain': 1, 'frame_rate': 30}
    box.greys.clear()
    (sequence, _), = box.take(1)
    assert sequence == 0
    assert box.greys[1].mean() == pytest.approx(BLACK, abs=0.1)
    assert read_orientation(box)[0] == (0, 0, 0, 0)


@pytest.mark.parametrize('name', TYPES)
def test_every_type_of_the_catalogue_streams(name):
    box = Box(TYPES[name], true_rate=1.0, buffers=8).start()
    box.send(*box.type.init)
    box.control(led=box.type.controls['led'].maximum / 5)
    image = box.settle()
    assert image.shape == (box.type.height, box.type.width)
    assert image.mean() > 30
    assert (image == 255).mean() < 0.1
    if box.type.orientation:
        quaternion, number = read_orientation(box)
        assert quaternion == box.transport.head.raw(box.time_s(number))
    box.transport.close()
