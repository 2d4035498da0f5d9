# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The display's pictures, against straightforward references in float64."""
from collections.abc import Iterator, Sequence
from dataclasses import replace
import itertools
import math

import cv2
from miniscope_ros.display.overlays import FrameState, Indicators
from miniscope_ros.display.renderer import (
    color_table,
    ColorMap,
    contrast_table,
    Display,
    DisplaySettings,
    Mode,
    picture_statistics,
)
import numpy as np
from numpy.typing import NDArray
import pytest
from real_recording import blink1

Image = NDArray[np.uint8]

BARE = DisplaySettings(
    orientation_indicator=False, text_indicator=False, loss_indicator=False)
FRAME_RATE = 30.0
MODES: tuple[Mode, ...] = ('raw', 'background_difference', 'delta_f_over_f')
COLOR_MAPS: tuple[ColorMap, ...] = ('none', 'green', 'red', 'inferno')


def state_at(stamp_s: float, lost_before: int = 0) -> FrameState:
    return FrameState(
        quaternion=(1.0, 0.0, 0.0, 0.0), has_orientation=True, frame_rate=FRAME_RATE,
        lost_total=lost_before, lost_before=lost_before, led_text='20 %', light_on=True,
        stamp_s=stamp_s)


def read_only(image: Image) -> Image:
    image.flags.writeable = False
    return image


def cells(width: int, height: int, frames: int, seed: int = 1) -> list[Image]:
    """Return frames of flashing cells on an uneven background, with shot noise and saturation."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    background = 5 + 90 * np.exp(-((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 5)
    footprints = np.array([
        np.exp(-((x - rng.uniform(0, width)) ** 2 + (y - rng.uniform(0, height)) ** 2) / 60)
        for _ in range(25)])
    activity = np.zeros(len(footprints))
    images = []
    for _ in range(frames):
        activity = activity * 0.93 + (rng.random(len(activity)) < 0.03) * rng.uniform(40, 220)
        light = background + np.tensordot(activity, footprints, 1)
        noisy = rng.normal(light, np.sqrt(light) * 0.6)
        images.append(read_only(np.clip(np.rint(noisy), 0, 255).astype(np.uint8)))
    return images


def stamps(images: Sequence[Image]) -> list[float]:
    return [100 + k / FRAME_RATE for k in range(len(images))]


def reference(images: Sequence[Image], settings: DisplaySettings) -> Iterator[NDArray[np.float64]]:
    """Yield what the mode alone makes of every image, rounded to whole grey levels."""
    background = np.zeros(0)
    for k, image in enumerate(images):
        frame = image.astype(np.float64)
        if k == 0:
            background = frame
        elif settings.mode == 'background_difference':
            alpha = settings.background_alpha
            background = (1 - alpha) * background + alpha * frame
        else:
            alpha = max(1 / (k + 1), 1 - math.exp(-1 / FRAME_RATE / 5.0))
            background = (1 - alpha) * background + alpha * frame
        if settings.mode == 'background_difference':
            frame = frame - np.rint(background)
        elif settings.mode == 'delta_f_over_f':
            change = (frame - background) / np.maximum(background, 8.0)
            frame = np.rint(change / settings.delta_f_maximum * 255)
        yield np.clip(frame, 0, 255)


def difference(one: NDArray[np.generic], other: NDArray[np.generic]) -> float:
    """Return the largest difference of two pictures in grey levels."""
    assert one.shape == other.shape
    return float(np.abs(one.astype(np.float64) - other.astype(np.float64)).max())


def rendered(images: Sequence[Image], settings: DisplaySettings) -> list[Image]:
    height, width = images[0].shape[:2]
    display = Display(width, height, color=images[0].ndim == 3)
    display.settings = settings
    return [display.render(image, state_at(stamp)).copy()
            for image, stamp in zip(images, stamps(images), strict=True)]


@pytest.fixture(scope='module')
def sequence() -> list[Image]:
    images = cells(184, 140, 240)
    assert max(image.max() for image in images) == 255
    return images


@pytest.mark.parametrize('settings', [
    BARE,
    replace(BARE, mode='background_difference'),
    replace(BARE, mode='background_difference', background_alpha=0.001),
    replace(BARE, mode='background_difference', background_alpha=0.99),
    replace(BARE, mode='delta_f_over_f'),
    replace(BARE, mode='delta_f_over_f', delta_f_maximum=1.5),
], ids=lambda s: f'{s.mode}-{s.background_alpha}-{s.delta_f_maximum}')
def test_modes_agree_with_the_reference(
        sequence: list[Image], settings: DisplaySettings) -> None:
    lit = 0
    for picture, expected in zip(
            rendered(sequence, settings), reference(sequence, settings), strict=True):
        assert difference(picture, expected) <= 1
        lit += np.count_nonzero(picture)
    assert lit > 1000


def test_modes_agree_with_the_reference_on_a_full_size_frame() -> None:
    images = cells(608, 608, 12)
    for mode in MODES:
        settings = replace(BARE, mode=mode)
        for picture, expected in zip(
                rendered(images, settings), reference(images, settings), strict=True):
            assert difference(picture, expected) <= 1


@pytest.fixture(scope='module')
def recorded() -> list[Image]:
    av = pytest.importorskip('av', reason='PyAV, which decodes the recording, is not installed')
    with av.open(str(blink1() / 'videos' / 'miniscope' / 'msslice_tiny2.mkv')) as video:
        frames = itertools.islice(video.decode(video=0), 100)
        return [read_only(frame.to_ndarray(format='gray')) for frame in frames]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('color_map', COLOR_MAPS)
def test_modes_agree_with_the_reference_on_the_real_recording(
        recorded: list[Image], mode: Mode, color_map: ColorMap) -> None:
    settings = replace(BARE, mode=mode, color_map=color_map)
    pictures = zip(rendered(recorded, settings), reference(recorded, settings), strict=True)
    for k, (picture, expected) in enumerate(pictures):
        if color_map == 'none':
            assert difference(picture, expected) <= 1
        elif k % 10 == 0:
            # One level of grey may be more than one level of colour.
            grey = expected.astype(int)
            colors = color_table(color_map).astype(int)
            near = [np.abs(picture - colors[np.clip(grey + d, 0, 255)]).max(axis=2)
                    for d in (-1, 0, 1)]
            assert np.min(near, axis=0).max() == 0


def test_contrast_is_the_formula_in_every_window() -> None:
    levels = np.arange(256, dtype=np.float64)
    for minimum in range(0, 255, 5):
        for maximum in range(minimum + 1, 256, 3):
            expected = np.clip((levels - minimum) * 255 / (maximum - minimum), 0, 255)
            assert difference(contrast_table(minimum, maximum), expected) <= 0.5 + 1e-9
            assert contrast_table(minimum, maximum)[[minimum, maximum]].tolist() == [0, 255]


@pytest.mark.parametrize(('minimum', 'maximum'), [(80, 80), (200, 10), (0, 0), (255, 0)])
def test_contrast_window_the_wrong_way_round_is_one_level_wide(
        minimum: int, maximum: int) -> None:
    table = contrast_table(minimum, maximum)
    assert table[:minimum + 1].max() == 0
    assert (table[minimum + 1:] == 255).all()


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('color_map', COLOR_MAPS)
def test_contrast_and_color_come_after_the_mode(
        sequence: list[Image], mode: Mode, color_map: ColorMap) -> None:
    plain = replace(BARE, mode=mode)
    settings = replace(plain, minimum=20, maximum=90, color_map=color_map)
    some = sequence[:40]
    for grey, picture in zip(rendered(some, plain), rendered(some, settings), strict=True):
        level = np.clip(np.rint((grey.astype(np.float64) - 20) * 255 / 70), 0, 255)
        if color_map == 'none':
            assert difference(picture, level) <= 1
            continue
        zero = np.zeros_like(level)
        expected = {
            'green': np.dstack([zero, level, zero]), 'red': np.dstack([zero, zero, level]),
            'inferno': cv2.applyColorMap(level.astype(np.uint8), cv2.COLORMAP_INFERNO),
        }[color_map]
        assert difference(picture, expected) <= 1


def test_color_tables() -> None:
    for color_map in COLOR_MAPS:
        assert color_table(color_map).shape == (256, 3)
    # The ends of inferno as its authors published them, RGB 0..1.
    published = np.array([[0.001462, 0.000466, 0.013866], [0.988362, 0.998364, 0.644924]])
    assert difference(color_table('inferno')[[0, 255]], published[:, ::-1] * 255) <= 1


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('color_map', COLOR_MAPS)
def test_saturated_pixels_are_red_in_every_mode(
        sequence: list[Image], mode: Mode, color_map: ColorMap) -> None:
    settings = replace(BARE, mode=mode, color_map=color_map, minimum=10, maximum=60)
    highlighted = rendered(sequence, replace(settings, highlight_saturation=True))
    seen = 0
    for image, plain, picture in zip(
            sequence, rendered(sequence, settings), highlighted, strict=True):
        saturated = image >= 253
        seen += np.count_nonzero(saturated)
        assert (picture[saturated] == (0, 0, 255)).all()
        if plain.ndim == 2:
            plain = np.dstack([plain] * 3)
        assert (picture[~saturated] == plain[~saturated]).all()
    assert seen > 100


def test_saturation_begins_at_253() -> None:
    image = np.arange(256, dtype=np.uint8).reshape(16, 16)
    picture = rendered([image], replace(BARE, highlight_saturation=True))[0].reshape(256, 3)
    assert np.flatnonzero((picture == (0, 0, 255)).all(axis=1)).tolist() == [253, 254, 255]


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('color_map', COLOR_MAPS)
@pytest.mark.parametrize('color', [False, True])
@pytest.mark.parametrize('contrast', [(0, 255), (5, 99)])
def test_the_image_is_only_read(
        mode: Mode, color_map: ColorMap, color: bool, contrast: tuple[int, int]) -> None:
    images = cells(96, 80, 6)
    if color:
        images = [read_only(np.dstack([image, image // 2, 255 - image])) for image in images]
    display = Display(96, 80, color)
    for highlight in (False, True):
        display.settings = DisplaySettings(
            mode=mode, color_map=color_map, highlight_saturation=highlight,
            minimum=contrast[0], maximum=contrast[1])
        for k, image in enumerate(images):
            before = image.tobytes()
            display.learn(image, state_at(k / 30))
            picture = display.render(image, state_at(k / 30 + 0.01, lost_before=1))
            assert image.tobytes() == before
            assert not np.shares_memory(picture, image)
            assert picture.dtype == np.uint8
            assert picture.flags.c_contiguous
            assert picture.shape == (
                (80, 96, 3) if color or display.settings.encoding == 'bgr8' else (80, 96))


def test_encoding() -> None:
    assert DisplaySettings().encoding == 'mono8'
    assert DisplaySettings(highlight_saturation=True).encoding == 'bgr8'
    for color_map in COLOR_MAPS[1:]:
        assert DisplaySettings(color_map=color_map).encoding == 'bgr8'


def test_every_setting_acts_on_the_next_frame_and_leaves_the_background_alone(
        sequence: list[Image]) -> None:
    difference_mode = replace(BARE, mode='background_difference')
    untouched = rendered(sequence, difference_mode)
    changes = {
        40: replace(difference_mode, color_map='inferno'),
        41: replace(difference_mode, highlight_saturation=True),
        42: replace(difference_mode, minimum=3, maximum=40),
        60: replace(DisplaySettings(), mode='background_difference'),
        61: difference_mode,
    }
    height, width = sequence[0].shape
    display = Display(width, height)
    display.settings = difference_mode
    for k, (image, stamp) in enumerate(zip(sequence, stamps(sequence), strict=True)):
        display.settings = changes.get(k, display.settings)
        picture = display.render(image, state_at(stamp))
        if display.settings == difference_mode:
            assert (picture == untouched[k]).all()
        elif 42 <= k < 60:
            assert (picture == contrast_table(3, 40)[untouched[k]]).all()
        elif k == 40:
            assert (picture == color_table('inferno')[untouched[k]]).all()
        elif k == 41:
            assert (picture[..., 0][image < 253] == untouched[k][image < 253]).all()
        else:
            assert picture.shape == image.shape
            assert (picture != untouched[k]).any()


def test_a_change_of_mode_starts_from_the_next_frame(sequence: list[Image]) -> None:
    height, width = sequence[0].shape
    display = Display(width, height)
    modes: list[Mode] = ['raw', 'background_difference', 'delta_f_over_f', 'raw',
                         'delta_f_over_f', 'background_difference']
    for block, mode in enumerate(modes):
        settings = replace(BARE, mode=mode)
        some = sequence[block * 20:block * 20 + 20]
        display.settings = settings
        for k, expected in enumerate(reference(some, settings)):
            picture = display.render(some[k], state_at((block * 20 + k) / FRAME_RATE))
            assert difference(picture, expected) <= 1


@pytest.mark.parametrize('mode', MODES[1:])
def test_a_reset_starts_from_the_next_frame(sequence: list[Image], mode: Mode) -> None:
    settings = replace(BARE, mode=mode)
    height, width = sequence[0].shape
    display = Display(width, height)
    display.settings = settings
    brighter = [read_only(image // 2 + 100) for image in sequence]
    for image, stamp in zip(sequence[:50], stamps(sequence), strict=False):
        display.render(image, state_at(stamp))
    assert display.render(brighter[50], state_at(stamps(sequence)[50])).mean() > 10
    display.reset_background()
    for k, expected in enumerate(reference(brighter[51:], settings), 51):
        assert difference(
            display.render(brighter[k], state_at(stamps(sequence)[k])), expected) <= 1


@pytest.mark.parametrize('mode', MODES[1:])
def test_frames_that_are_not_shown_are_learned_from(sequence: list[Image], mode: Mode) -> None:
    settings = replace(BARE, mode=mode)
    every = rendered(sequence, settings)
    height, width = sequence[0].shape
    display = Display(width, height)
    display.settings = settings
    for k, (image, stamp) in enumerate(zip(sequence, stamps(sequence), strict=True)):
        if k % 3:
            display.learn(image, state_at(stamp))
        else:
            assert (display.render(image, state_at(stamp)) == every[k]).all()


@pytest.mark.parametrize('mode', MODES[1:])
@pytest.mark.parametrize(('pause', 'anew'), [(9.0, False), (11.0, True), (-3.0, True)])
def test_a_long_pause_starts_the_background_anew(
        sequence: list[Image], mode: Mode, pause: float, anew: bool) -> None:
    height, width = sequence[0].shape
    display = Display(width, height)
    display.settings = replace(BARE, mode=mode)
    for image, stamp in zip(sequence[:30], stamps(sequence), strict=False):
        display.render(image, state_at(stamp))
    brighter = sequence[30] // 2 + 120
    picture = display.render(brighter, state_at(stamps(sequence)[29] + pause))
    # What has just been learned from one frame alone does not differ from it.
    assert (picture.max() == 0) == anew


def test_a_dark_picture_stays_dark_in_delta_f_over_f() -> None:
    rng = np.random.default_rng(3)
    images = [(rng.random((60, 80)) < 0.1).astype(np.uint8) for _ in range(30)]
    for image, picture in zip(
            images, rendered(images, replace(BARE, mode='delta_f_over_f')), strict=True):
        assert (picture[image == 0] == 0).all()
        assert picture.max() <= 255 / 8 / 0.2 + 1


def test_delta_f_maximum_is_white_and_0_is_black() -> None:
    dim = [np.full((40, 40), 100, np.uint8)] * 300
    bright = np.repeat(np.arange(90, 130, dtype=np.uint8), 40).reshape(40, 40)
    picture = rendered([*dim, bright], replace(BARE, mode='delta_f_over_f'))[-1][:, 0]
    baseline = 100 + (np.arange(90, 130) - 100) * (1 - math.exp(-1 / FRAME_RATE / 5.0))
    change = np.arange(90, 130) / baseline - 1
    assert (picture[change <= 0] == 0).all()
    assert (picture[change >= 0.2] == 255).all()
    inside = (change > 0) & (change < 0.2)
    assert difference(picture[inside], change[inside] / 0.2 * 255) <= 1


@pytest.mark.parametrize('mode', MODES)
def test_color_images_are_processed_channel_by_channel(
        sequence: list[Image], mode: Mode) -> None:
    settings = replace(BARE, mode=mode, minimum=3, maximum=180)
    channels = [sequence[:30], sequence[30:60], sequence[60:90]]
    images = [np.dstack(frame) for frame in zip(*channels, strict=True)]
    alone = [rendered(channel, settings) for channel in channels]
    for picture, expected in zip(
            rendered(images, settings), zip(*alone, strict=True), strict=True):
        assert (picture == np.dstack(expected)).all()


def test_a_color_map_shows_the_brightness_of_a_color_image(sequence: list[Image]) -> None:
    image = np.dstack([sequence[0], sequence[50], sequence[100]])
    picture = rendered([image], replace(BARE, color_map='green'))[0]
    grey = image.astype(np.float64) @ (0.114, 0.587, 0.299)  # ITU-R BT.601
    assert difference(picture[..., 1], grey) <= 1
    assert picture[..., ::2].max() == 0


def test_one_saturated_channel_makes_a_pixel_red() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    image[1, 1] = (253, 0, 0)
    image[2, 2] = (0, 255, 90)
    image[3, 3] = (252, 252, 252)
    picture = rendered([image], replace(BARE, highlight_saturation=True))[0]
    expected = image.copy()
    expected[1, 1] = expected[2, 2] = (0, 0, 255)
    assert (picture == expected).all()


@pytest.mark.parametrize('image', [
    np.zeros((48, 65), np.uint8), np.zeros((64, 48), np.uint8), np.zeros((48, 64, 3), np.uint8),
    np.zeros((48, 64), np.uint16)])
def test_an_image_of_another_kind_is_refused(image: Image) -> None:
    display = Display(64, 48)
    with pytest.raises(ValueError, match=r'uint8 images of shape \(48, 64\), not uint'):
        display.render(image, state_at(0.0))
    with pytest.raises(ValueError, match=r'uint8 images of shape \(48, 64\), not uint'):
        display.learn(image, state_at(0.0))


def loss_mark(image: Image, lost: int) -> Image:
    """Return the image with the mark for that many lost frames."""
    marked = image.copy()
    if lost:
        Indicators(image.shape[1], image.shape[0], 1).draw_loss(marked, lost)
    return marked


LOSS_ONLY = replace(BARE, loss_indicator=True)


@pytest.mark.parametrize('frame_rate', [15.0, 30.0, 60.0])
def test_the_loss_mark_stays_for_half_a_second_and_losses_add_up(frame_rate: float) -> None:
    image = cells(200, 160, 1)[0]
    display = Display(200, 160)
    display.settings = LOSS_ONLY
    losses = {2.0: 3, 2.4: 1, 2.8: 20, 4.0: 1}  # at [s]: frames lost before
    shown, last = 0, -math.inf
    for k in range(int(5 * frame_rate)):
        stamp = k / frame_rate
        lost = losses.get(stamp, 0)
        if lost:
            shown, last = (shown if stamp - last < 0.5 else 0) + lost, stamp
        expected = loss_mark(image, shown if stamp - last < 0.5 else 0)
        assert (display.render(image, state_at(stamp, lost)) == expected).all()
    assert (shown, last) == (1, 4.0)


def test_the_mark_of_a_faulty_picture_stays_for_half_a_second() -> None:
    image = np.full((480, 640), 90, np.uint8)
    display = Display(640, 480)
    display.settings = LOSS_ONLY

    def marked(stamp_s: float, fault: str = '') -> bool:
        picture = display.render(image, replace(state_at(stamp_s), fault=fault))
        return bool((picture != image).any())
    assert not marked(1.0)
    assert marked(1.1, 'dark') and marked(1.5) and not marked(1.7)
    display.learn(image, replace(state_at(2.0), fault='dark'))
    assert marked(2.4), 'of a frame that was not shown'
    display.begin()
    assert not marked(2.45)


def test_losses_of_one_acquisition_are_no_matter_of_the_next() -> None:
    image = cells(300, 200, 1)[0]
    display = Display(300, 200)
    display.settings = LOSS_ONLY
    display.learn(image, state_at(1.0, lost_before=2))
    assert (display.render(image, state_at(1.1, lost_before=1)) == loss_mark(image, 3)).all()
    display.learn(image, state_at(1.2, lost_before=4))
    display.begin()
    assert (display.render(image, state_at(1.3)) == image).all()


def test_losses_before_frames_that_are_not_shown_are_marked_on_the_next_one() -> None:
    image = cells(200, 160, 1)[0]
    display = Display(200, 160)
    display.settings = LOSS_ONLY
    display.render(image, state_at(0.0))
    display.learn(image, state_at(0.1, lost_before=2))
    display.learn(image, state_at(0.2, lost_before=1))
    assert (display.render(image, state_at(1.0, 4)) == loss_mark(image, 7)).all()
    assert (display.render(image, state_at(1.4)) == loss_mark(image, 7)).all()
    assert (display.render(image, state_at(1.5)) == image).all()


def test_a_stream_that_begins_again_shows_no_old_loss() -> None:
    image = cells(200, 160, 1)[0]
    display = Display(200, 160)
    display.settings = LOSS_ONLY
    display.render(image, state_at(50.0, 4))
    assert (display.render(image, state_at(0.0)) == image).all()


@pytest.mark.parametrize('color', [False, True])
def test_picture_statistics(color: bool) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(3, 256, (120, 160, 3) if color else (120, 160), dtype=np.uint8)
    read_only(image)
    statistics = picture_statistics(image)
    saturated = (image >= 253).any(axis=2) if color else image >= 253
    assert statistics[:2] == (image.min(), image.max())
    assert statistics.mean == pytest.approx(image.mean())
    assert statistics.saturated_share == pytest.approx(saturated.mean())
    assert statistics.saturated_share > 0


SCALED = replace(BARE, mode='background_difference', scale_difference=True)


def test_the_scaled_difference_agrees_with_the_reference(sequence: list[Image]) -> None:
    background = sequence[0].astype(np.float64)
    peak = 16.0
    pictures = zip(sequence, rendered(sequence, SCALED), strict=True)
    for k, (image, picture) in enumerate(pictures):
        background = 0.99 * background + 0.01 * image if k else background
        change = image - background
        decay = math.exp(-1 / FRAME_RATE / 5.0) if k else 0.0
        some = np.sort(change[::8, ::8], axis=None)
        peak = max(float(some[int(0.995 * some.size)]), 16.0 + (peak - 16.0) * decay)
        assert difference(picture, np.clip(np.rint(51 + 204 / peak * change), 0, 255)) <= 1


def test_a_scaled_difference_is_never_black(sequence: list[Image]) -> None:
    assert all((picture == 51).all() for picture in rendered([sequence[0]] * 10, SCALED))
    flat = np.full((48, 64), 30, np.uint8)
    for brightness, least in ((60, 200), (33, 30)):  # three grey levels are seen, too
        flash = flat.copy()
        flash[10:30, 10:30] = brightness
        *_, shown = rendered([flat, flat, flash], SCALED)
        assert int(shown[20, 20]) - int(shown[0, 0]) > least and 30 <= shown[0, 0] <= 51


def test_a_scaled_difference_of_colours() -> None:
    flat = np.full((48, 64, 3), 30, np.uint8)
    flash = flat.copy()
    flash[10:30, 10:30, 1] = 60
    *_, shown = rendered([flat, flat, flash], SCALED)
    assert shown[20, 20, 1] > 240 and (shown[20, 20, ::2] == 51).all()
