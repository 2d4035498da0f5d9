# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What pictures show: damage is found, good pictures are left alone, for every device type."""
from itertools import pairwise

from miniscope_ros.acquisition.content import ContentChecker
from miniscope_ros.acquisition.frame_content import FrameContent
from miniscope_ros.daq.catalogue import load_catalogue
from miniscope_ros.model import Content, RawFrame, SourceInfo, StampSource
import numpy as np
from picture_damage import add_bands, deviation, Image, KINDS, misplace
from picture_scenes import scene_frames
import pytest
from real_recording import blink1

CLEAR = 5.0  # [grey values] deviation from which on damage must be found
# Those of all types, and one whose width no number of strips divides.
SIZES = sorted({(one.width, one.height) for one in load_catalogue().values()} | {(607, 600)})


def checker(size: tuple[int, int] = (608, 608)) -> ContentChecker:
    return ContentChecker(*size, has_blocks=True)


@pytest.fixture(scope='module')
def recording() -> list[Image]:
    """Return the frames of the real recording, whose light blinks."""
    av = pytest.importorskip('av')
    video = next(blink1().rglob('msslice_tiny2.mkv'))
    with av.open(str(video)) as container:
        return [frame.to_ndarray(format='gray') for frame in container.decode(video=0)]


@pytest.mark.parametrize('size', SIZES, ids=lambda size: f'{size[0]}x{size[1]}')
@pytest.mark.parametrize('kind', KINDS)
def test_misplaced_blocks_are_found_at_every_size(kind: str, size: tuple[int, int]) -> None:
    one, rng = checker(size), np.random.default_rng(5)
    frames = list(scene_frames(4, size=size))
    for before, image in pairwise(frames):
        assert one.check(image, lit=True) is Content.OK
        damaged = misplace(kind, before, image, rng)
        if deviation(damaged, image) >= CLEAR:
            assert one.check(damaged, lit=True) is Content.BLOCKS_MISPLACED
    assert one.counts[Content.OK] == len(frames) - 1


@pytest.mark.parametrize('brightness', [0.06, 0.3, 0.6])
def test_every_injected_damage_is_found_and_nothing_else(brightness: float) -> None:
    one, rng = checker(), np.random.default_rng(7)
    before, injected, found = None, 0, 0
    for image in scene_frames(60, seed=3, brightness=brightness):
        assert one.check(image, lit=True) is Content.OK
        for kind in KINDS if before is not None else ():
            damaged = misplace(kind, before, image, rng)
            if deviation(damaged, image) >= CLEAR + 1:  # noise alone reaches 5 in dim frames
                injected += 1
                found += one.check(damaged, lit=True) is Content.BLOCKS_MISPLACED
        before = image
    assert injected > 100 and found == injected


def test_damage_of_the_real_recording_is_found_and_nothing_else(
        recording: list[Image]) -> None:
    one, rng = checker(), np.random.default_rng(8)
    injected = 0
    for before, image in pairwise(recording):
        # The codec repeats pictures.
        assert one.check(image, lit=True) in (Content.OK, Content.REPEATED, Content.DARK)
        # Between those of them that were lit for their whole exposure.
        for kind in KINDS if min(before.mean(), image.mean()) > 130 else ():
            damaged = misplace(kind, before, image, rng)
            if deviation(damaged, image) >= CLEAR:
                injected += 1
                assert one.check(damaged, lit=True) is Content.BLOCKS_MISPLACED
    assert injected > 900


def test_new_light_focus_and_motion_are_no_damage() -> None:
    one = checker()
    for number, (brightness, defocus) in enumerate(
            [(0.3, 0.0), (0.03, 0.0), (0.5, 0.0), (0.5, 40.0), (0.5, -20.0), (0.1, 0.0)]):
        for image in scene_frames(25, brightness=brightness, defocus=defocus, first=25 * number):
            one.check(image, lit=True)
    # Jumps by several pixels from frame to frame.
    for jump in range(0, 3000, 100):
        for image in scene_frames(1, first=jump):
            one.check(image, lit=True)
    assert one.counts == {Content.OK: one.counts.total()}


@pytest.mark.parametrize('amplitude', [3.0, 5.0])
@pytest.mark.parametrize('period', [8.0, 21.0, 40.0, 101.0])
def test_moving_bands_are_found(amplitude: float, period: float) -> None:
    one, rng = checker(), np.random.default_rng(9)
    frames = list(scene_frames(60, brightness=0.2))
    for image in frames[:10]:
        assert one.check(image, lit=True) is Content.OK
    found = sum(one.check(add_bands(image, amplitude, period, rng), lit=True) is Content.BANDED
                for image in frames[10:])
    assert found >= 0.95 * len(frames[10:])


@pytest.mark.parametrize('brightness', [0.45, 0.5])
def test_moving_bands_are_found_where_pixels_are_clipped(brightness: float) -> None:
    one, rng = checker(), np.random.default_rng(11)
    frames = list(scene_frames(40, brightness=brightness))
    assert 0.05 < np.mean(np.stack(frames) == 255) < 0.4
    for image in frames[:10]:
        assert one.check(image, lit=True) is Content.OK
    found = [one.check(add_bands(image, 3.0, period, rng), lit=True) is Content.BANDED
             for image in frames[10:] for period in (8.0, 21.0, 40.0, 101.0)]
    assert np.mean(found) >= 0.95


def test_a_change_of_light_makes_no_bands_where_pixels_are_clipped() -> None:
    one = checker()
    # From frame 107 to 112 the whole field gets 3 % brighter, and a third of it is clipped.
    for image in scene_frames(60, seed=0, brightness=0.5, first=60):
        assert one.check(image, lit=True) is Content.OK


def test_tissue_that_jolts_makes_no_bands() -> None:
    one = checker()
    # At frame 1020 the head stops, and all of the field moves back.
    for image in scene_frames(45, seed=1, brightness=0.4, first=1000):
        assert one.check(image, lit=True) is Content.OK


def test_a_picture_at_full_scale_repeats_nothing() -> None:
    one = checker()
    image = np.full((608, 608), 255, np.uint8)
    image[300, 300:340] = 254
    for _ in range(10):
        assert one.check(image.copy(), lit=True) is Content.OK


def test_a_black_picture_is_dark_although_it_repeats() -> None:
    one = checker()
    for _ in range(3):
        assert one.check(np.zeros((608, 608), np.uint8), lit=True) is Content.DARK


def test_a_dark_picture_is_a_fault_only_under_light() -> None:
    one = checker()
    dark = list(scene_frames(12, brightness=0.0))
    for image in dark[:8]:
        one.observe_dark(image)
    for image in dark[8:]:
        assert one.check(image, lit=True) is Content.DARK
        assert one.check(image, lit=False) is Content.OK
    for image in scene_frames(3, brightness=0.02):
        assert one.check(image, lit=True) is Content.OK


def test_a_frame_that_waited_is_of_the_light_before_a_change() -> None:
    content = FrameContent()
    content.begin_stream(SourceInfo(
        width=608, height=608, encoding='mono8', device_type='', has_orientation=False,
        frame_rate=30.0, has_blocks=True))
    dark = iter(scene_frames(12, brightness=0.0))

    def check(stamp_ns: int) -> Content:
        return content.check(RawFrame(
            image=next(dark), stamp_ns=stamp_ns, stamp_source=StampSource.BUFFER,
            receive_ns=1000))

    content.note_lights({'led': 20.0}, 100, lighting_up=True)
    assert check(200) is Content.DARK
    content.note_lights({'led': 0.0}, 500, lighting_up=False)
    assert [check(400), content.lit] == [Content.DARK, True]
    content.note_lights({'led': 20.0}, 600, lighting_up=False)
    assert [check(450), check(550)] == [Content.DARK, Content.OK]
    # The first one after the change may be of the light before, the second one of both.
    assert [check(700), check(800), check(900)] == [Content.OK, Content.OK, Content.DARK]
    content.note_lights({'led': 0.0}, 1000, lighting_up=False)
    assert [check(950), check(1100), check(1200), check(1300)] == [Content.DARK, *3 * [Content.OK]]


def test_the_same_bytes_twice_are_told_while_lit() -> None:
    one = checker()
    first, second = scene_frames(2)
    assert one.check(first, lit=True) is Content.OK
    assert one.check(first.copy(), lit=True) is Content.REPEATED
    assert one.check(second, lit=True) is Content.OK
    almost = second.copy()
    almost[300, 300] ^= 1
    assert one.check(almost, lit=True) is Content.OK
    assert one.check(almost, lit=False) is Content.OK
    assert one.check(almost, lit=True) is Content.OK


def test_a_bright_picture_is_not_dark_because_the_ones_without_light_were_bright() -> None:
    one = checker()
    frames = list(scene_frames(12, brightness=0.3))
    assert frames[0].mean() > 40
    for image in frames[:6]:
        one.observe_dark(image)  # in the light of a room
    for image in frames[6:]:
        assert one.check(image, lit=True) is Content.OK


@pytest.mark.parametrize('value', [0, 8, 127, 255])
def test_a_plain_picture_is_no_damage(value: int) -> None:
    one = checker()
    image = np.full((608, 608), value, np.uint8)
    for number in range(10):
        image[0, 0] = number
        assert one.check(image, lit=False) is Content.OK


def test_noise_alone_is_no_damage() -> None:
    one, rng = checker(), np.random.default_rng(10)
    for _ in range(200):
        image = rng.normal(100, 8, (608, 608)).clip(0, 255).astype(np.uint8)
        assert one.check(image, lit=True) is Content.OK


def test_what_has_no_blocks_is_not_checked() -> None:
    one = ContentChecker(640, 480, has_blocks=False)
    assert one.check(np.zeros((480, 640), np.uint8), lit=True) is Content.NOT_CHECKED
    assert one.counts == {Content.NOT_CHECKED: 1}
    one.begin()
    assert not one.counts


@pytest.mark.soak
@pytest.mark.timeout(3600)
@pytest.mark.parametrize('brightness', [0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 1.0, 1.5])
def test_no_false_alarm_in_clipped_pictures(brightness: float) -> None:
    false = 0
    for seed in range(5):
        one = checker()
        for image in scene_frames(400, seed=seed, brightness=brightness):
            false += one.check(image, lit=True) is not Content.OK
    assert false == 0


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_one_false_alarm_in_100_000_good_frames_at_most() -> None:
    false = 0
    for seed in range(50):
        one = checker()
        for part in range(4):
            for image in scene_frames(
                    500, seed=seed, brightness=(0.05, 0.2, 0.5, 1.0)[part], first=500 * part,
                    defocus=(0.0, 15.0, -30.0, 0.0)[part]):
                false += one.check(image, lit=True) is not Content.OK
    assert false <= 1
