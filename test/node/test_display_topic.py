# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What a person sees: the display's topics while its settings change, and colour images whole."""
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
from listening import BEST_EFFORT, Heard, Listener, stamp_ns
from node_process import NodeProcess, scope_node
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

PROFILE = Path(__file__).parents[2] / 'config' / 'fastdds.xml'
QUIET = {  # nothing is drawn over the pixels
    'display.orientation_indicator': False, 'display.text_indicator': False,
    'display.loss_indicator': False}
SECONDS = 10.0


@pytest.fixture(scope='module')
def scope() -> Iterator[tuple[NodeProcess, Listener]]:
    """Run a streaming node that draws nothing over the pixels."""
    profile = {'FASTRTPS_DEFAULT_PROFILES_FILE': str(PROFILE),
               'FASTDDS_DEFAULT_PROFILES_FILE': str(PROFILE)}
    given = {'source': 'simulated', 'led': 20.0, **QUIET}
    with scope_node(given, environment=profile) as node, Listener() as ear:
        ear.wait_for(ear.listen('frame_info'))
        yield node, ear


Scope = tuple[NodeProcess, Listener]


def pixels(image: Image) -> np.ndarray:
    """Return an image as OpenCV has it."""
    channels = {'mono8': (), 'bgr8': (3,)}[image.encoding]
    return np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, *channels)


class Screen:
    """Raw and display images of the same frames."""

    def __init__(self, ear: Listener) -> None:
        self.ear = ear
        self.raw: dict[int, np.ndarray] = {}
        self.shown = ear.listen('image_display')
        self.all_raw = ear.listen('image_raw', keep=lambda image: self.raw.update(
            {stamp_ns(image): pixels(image)}))

    def see(self, condition: Callable[[Image], Any]) -> tuple[np.ndarray, np.ndarray]:
        """Return raw and display of the first frame from now on that is shown like that."""
        seen = len(self.shown)

        def found() -> list[Image]:
            return [image for image in self.shown[seen:]
                    if stamp_ns(image) in self.raw and condition(image)]

        image = self.ear.wait_until(found, 'the display is like that')[0]
        return self.raw[stamp_ns(image)], pixels(image)


@pytest.fixture
def screen(scope: Scope) -> Iterator[Screen]:
    """Look at the display."""
    screen = Screen(scope[1])
    yield screen
    screen.ear.hush(screen.shown, screen.all_raw)


def test_the_display_is_the_frame(screen: Screen) -> None:
    raw, shown = screen.see(lambda image: True)
    np.testing.assert_array_equal(shown, raw)


def test_contrast_holds_from_a_next_frame_on(screen: Screen) -> None:
    assert screen.ear.set_together(display__minimum=40, display__maximum=90).successful
    raw, shown = screen.see(lambda image: pixels(image).max() == 255 and pixels(image).min() == 0)
    expected = np.clip(np.rint((raw.astype(float) - 40) * 255 / 50), 0, 255)
    assert np.abs(shown - expected).max() <= 1
    assert screen.ear.set_together(display__minimum=0, display__maximum=255).successful


def metadata(ear: Listener) -> Heard:
    """Listen to the display's metadata."""
    return ear.wait_for(ear.listen('image_display/metadata'))


def test_colours_change_encoding_and_metadata(screen: Screen) -> None:
    told = metadata(screen.ear)
    assert (told[-1].encoding, told[-1].has_color) == ('mono8', False)
    assert screen.ear.set_together(display__color_map='green').successful
    raw, shown = screen.see(lambda image: image.encoding == 'bgr8')
    np.testing.assert_array_equal(shown[..., 1], raw)
    assert not shown[..., (0, 2)].any()
    screen.ear.wait_until(lambda: told[-1].encoding == 'bgr8', 'metadata followed')
    assert told[-1].has_color and len(told) == 2
    assert screen.ear.set_together(display__color_map='inferno').successful
    raw, shown = screen.see(lambda image: pixels(image)[..., 0].any())
    inferno = cv2.applyColorMap(raw, cv2.COLORMAP_INFERNO)
    np.testing.assert_array_equal(shown, inferno)
    assert screen.ear.set_together(display__color_map='none').successful
    screen.see(lambda image: image.encoding == 'mono8')
    screen.ear.wait_until(lambda: told[-1].encoding == 'mono8', 'metadata followed')
    assert len(told) == 3


def test_metadata_follow_without_anybody_looking(scope: Scope) -> None:
    _, ear = scope
    told = metadata(ear)
    assert ear.set_together(display__color_map='red').successful
    ear.wait_until(lambda: told[-1].encoding == 'bgr8', 'metadata followed')
    assert ear.set_together(display__color_map='none').successful
    ear.wait_until(lambda: told[-1].encoding == 'mono8', 'metadata followed')


def test_saturated_pixels_are_red(screen: Screen) -> None:
    assert screen.ear.set_together(display__highlight_saturation=True, led=100.0).successful
    raw, shown = screen.see(
        lambda image: image.encoding == 'bgr8' and (pixels(image)[..., 1] == 0).mean() > 0.01)
    red = (shown == (0, 0, 255)).all(axis=2)
    np.testing.assert_array_equal(red, raw >= 253)
    np.testing.assert_array_equal(shown[~red], np.repeat(raw[~red][:, None], 3, axis=1))
    assert screen.ear.set_together(display__highlight_saturation=False, led=20.0).successful
    screen.see(lambda image: image.encoding == 'mono8' and pixels(image).max() < 253)


def test_background_is_subtracted_and_reset(screen: Screen) -> None:
    assert screen.ear.set_together(display__mode='background_difference').successful
    # Where nothing changes the picture is dark grey, not black.
    raw, shown = screen.see(lambda image: (
        abs(np.median(pixels(image)) - 51) < 15
        and (pixels(image) != screen.raw[stamp_ns(image)]).mean() > 0.5))
    assert (shown > 20).mean() > 0.9
    # The slowest background: only one that begins anew is the frame itself, and that one picture
    # may not get through on a busy computer.
    assert screen.ear.set_together(display__background_alpha=0.001).successful

    def begins_anew() -> bool:
        seen = len(screen.shown)
        assert screen.ear.trigger('reset_background').success
        screen.ear.wait_for(screen.shown, seen + 5)
        return any((pixels(image) == 51).all() for image in screen.shown[seen:])

    assert any(begins_anew() for _ in range(20))
    assert screen.ear.set_together(display__mode='raw').successful


def test_indicators_cover_little(screen: Screen) -> None:
    assert screen.ear.set_each(
        **{name.replace('.', '__'): True for name in QUIET})[0].successful
    raw, shown = screen.see(lambda image: (
        pixels(image) != screen.raw[stamp_ns(image)]).any())
    assert 0 < (raw != shown).mean() < 0.03
    for result in screen.ear.set_each(**{name.replace('.', '__'): False for name in QUIET}):
        assert result.successful


def test_jpeg_has_the_quality_that_is_set(scope: Scope) -> None:
    _, ear = scope
    images = ear.listen('image_display/compressed', CompressedImage)
    sizes = {}
    for quality in (95, 10):
        assert ear.set_together(display__jpeg_quality=quality).successful
        seen = len(images)
        ear.wait_for(images, seen + 3)
        sizes[quality] = len(images[-1].data)
        decoded = cv2.imdecode(np.frombuffer(images[-1].data, np.uint8), cv2.IMREAD_UNCHANGED)
        assert decoded.shape == (608, 608)
    assert sizes[10] < sizes[95] / 3


@pytest.mark.parametrize('rate', [10.0, 20.0])
def test_the_rate_of_the_display_alone_is_lowered(scope: Scope, rate: float) -> None:
    _, ear = scope
    told = metadata(ear)
    assert ear.set_together(display__max_rate=rate).successful
    ear.wait_until(lambda: told[-1].framerate == rate, 'metadata followed')
    shown = ear.listen('image_display', keep=stamp_ns)
    raw = ear.listen('image_raw', keep=stamp_ns)
    ear.wait_for(shown, 2)
    begin = len(raw)
    ear.wait_for(raw, begin + 46)
    between = [stamp for stamp in shown if raw[begin] <= stamp < raw[begin + 45]]
    # 1.5 s, and one at the edge; fewer where the display was skipped.
    assert len(between) <= 1.5 * rate + 1
    ear.wait_until(
        lambda: 30 // rate in np.rint(np.diff(shown) * 30e-9), 'two came as close as they may')
    assert ear.set_together(display__max_rate=0.0).successful
    ear.wait_until(lambda: told[-1].framerate == 30.0, 'metadata followed')
    ear.hush(shown, raw)


def test_a_higher_rate_of_the_display_holds_at_once(scope: Scope) -> None:
    _, ear = scope
    frames = ear.listen('frame_info', keep=stamp_ns)
    shown = ear.wait_for(ear.listen('image_display', keep=stamp_ns))
    assert ear.set_together(display__max_rate=0.001).successful
    # One more is shown; the next one is due in a quarter of an hour.
    ear.wait_until(lambda: frames and frames[-1] > shown[-1] + 500_000_000, 'none is shown')
    assert ear.set_together(display__max_rate=0.0).successful
    ear.wait_for(shown, len(shown) + 3)


def test_colour_images_arrive_whole_at_a_best_effort_subscriber(scope: Scope) -> None:
    node, ear = scope
    assert ear.set_together(display__color_map='inferno').successful
    with Listener() as other:
        shown = other.listen('image_display', Image, BEST_EFFORT, keep=lambda image: (
            stamp_ns(image), image.encoding, len(image.data)))
        frames = other.listen('frame_info')
        other.wait_until(
            lambda: frames and shown and shown[-1][1] == 'bgr8', 'colours came')
        begin = max(stamp_ns(frames[0]), next(
            stamp for stamp, encoding, _ in shown if encoding == 'bgr8'))
        other.wait_until(
            lambda: stamp_ns(frames[-1]) > begin + SECONDS * 1e9, f'{SECONDS} s came')
        end = stamp_ns(frames[-1])
        other.wait_until(lambda: shown[-1][0] >= end, 'the display has got there')
    assert {size for stamp, _, size in shown if stamp >= begin} == {608 * 608 * 3}
    sent = [stamp_ns(frame) for frame in frames if begin <= stamp_ns(frame) <= end]
    received = [stamp for stamp, *_ in shown if begin <= stamp <= end]
    assert len(sent) >= SECONDS * 29
    # What the node itself has left out, since another frame waited, is in its last report.
    assert node.stop() == 0
    words = node.wait_for_output('acquisition ended').split()
    skipped = int(words[words.index('skipped') + 1].rstrip(';'))
    assert set(received) <= set(sent)
    assert len(received) >= len(sent) - skipped
