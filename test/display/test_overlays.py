# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What is drawn over the picture: legible, out of the way, switchable, and true."""
from collections.abc import Callable
from dataclasses import replace
import math

from miniscope_ros.display.head_gizmo import draw_head, rotation_matrix
from miniscope_ros.display.overlays import FrameState, Indicators
from miniscope_ros.display.renderer import Display, DisplaySettings
from miniscope_ros.model import Quaternion
import numpy as np
from numpy.typing import NDArray
import pytest

Image = NDArray[np.uint8]

SIZES = [(608, 608), (752, 480), (800, 800), (1000, 1000), (1024, 768), (1296, 972),
         (1500, 1500), (1800, 1800), (2592, 1944)]
LEVEL: Quaternion = (1.0, 0.0, 0.0, 0.0)
STATE = FrameState(
    quaternion=LEVEL, has_orientation=True, frame_rate=29.97, lost_total=12, lost_before=0,
    led_text='20 %', light_on=True, stamp_s=0.0)
ALL_AT_ONCE = replace(STATE, lost_total=12345, lost_before=12345, led_text='100 % + 100 %',
                      light_on=False, fault='blocks')
BACKGROUNDS: dict[str, Callable[[int, int], Image]] = {
    'black': lambda w, h: np.zeros((h, w), np.uint8),
    'grey': lambda w, h: np.full((h, w), 128, np.uint8),
    'white': lambda w, h: np.full((h, w), 255, np.uint8),
    'noise': lambda w, h: np.random.default_rng(0).integers(0, 256, (h, w), dtype=np.uint8),
}


def turned(axis: tuple[float, float, float], degrees: float) -> Quaternion:
    half = math.radians(degrees) / 2
    x, y, z = (math.sin(half) * part for part in axis)
    return (math.cos(half), x, y, z)


def product(p: Quaternion, q: Quaternion) -> Quaternion:
    a, b = np.array(p[1:]), np.array(q[1:])
    x, y, z = p[0] * b + q[0] * a + np.cross(a, b)
    return (p[0] * q[0] - float(a @ b), float(x), float(y), float(z))


def changed(image: Image, state: FrameState, **settings: bool) -> NDArray[np.bool_]:
    """Return which pixels the indicators change."""
    display = Display(image.shape[1], image.shape[0])
    display.settings = DisplaySettings(**settings)  # type: ignore[arg-type]
    picture = display.render(image, state)
    if picture.ndim == 3:
        return (picture != image[..., None]).any(axis=2)
    return picture != image


@pytest.mark.parametrize(('width', 'height'), SIZES)
@pytest.mark.parametrize('background', BACKGROUNDS)
@pytest.mark.parametrize('quaternion', [LEVEL, turned((0.6, 0.0, 0.8), 130), None])
def test_indicators_cover_at_most_3_percent(
        width: int, height: int, background: str, quaternion: Quaternion | None) -> None:
    image = BACKGROUNDS[background](width, height)
    covered = changed(image, replace(ALL_AT_ONCE, quaternion=quaternion))
    assert 0.002 < covered.mean() <= 0.03


@pytest.mark.parametrize(('width', 'height'), SIZES)
def test_each_indicator_keeps_to_its_corner(width: int, height: int) -> None:
    image = np.full((height, width), 100, np.uint8)
    off = {'orientation_indicator': False, 'text_indicator': False, 'loss_indicator': False}
    orientation = changed(image, ALL_AT_ONCE, **{**off, 'orientation_indicator': True})
    text_and_light = changed(image, ALL_AT_ONCE, **{**off, 'text_indicator': True})
    text = changed(image, replace(ALL_AT_ONCE, light_on=True), **{**off, 'text_indicator': True})
    loss = changed(image, ALL_AT_ONCE, **{**off, 'loss_indicator': True})
    light = text_and_light & ~text
    assert not changed(image, ALL_AT_ONCE, **off).any()

    def box(drawn: NDArray[np.bool_]) -> tuple[int, int, int, int]:
        rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
        return rows[0], height - 1 - rows[-1], columns[0], width - 1 - columns[-1]

    near = 0.04 * min(width, height)  # from the top, the bottom, the left, the right
    assert max(box(orientation)[1], box(orientation)[3]) < near
    assert max(box(text)[1], box(text)[2]) < near
    assert max(box(light)[0], box(light)[3]) < near
    assert max(box(loss)[0], box(loss)[2]) < near
    for drawn in (orientation, text, light, loss):
        assert min(box(drawn)) >= 1
    together = orientation.astype(int) + text + light + loss
    assert together.max() == 1


@pytest.mark.parametrize(('width', 'height'), SIZES)
def test_a_faulty_picture_is_marked_where_a_loss_is(width: int, height: int) -> None:
    image = np.full((height, width), 100, np.uint8)
    only = {'orientation_indicator': False, 'text_indicator': False}
    loss = changed(image, replace(STATE, lost_before=3), **only)
    fault = changed(image, replace(STATE, fault='bands'), **only)
    both = changed(image, replace(STATE, lost_before=3, fault='bands'), **only)
    assert len({drawn.tobytes() for drawn in (loss, fault, both)}) == 3

    def corner(drawn: NDArray[np.bool_]) -> tuple[int, int]:
        return np.flatnonzero(drawn.any(axis=1))[0], np.flatnonzero(drawn.any(axis=0))[0]
    assert corner(loss) == corner(fault) == corner(both)


@pytest.mark.parametrize(('width', 'height'), [(608, 608), (752, 480), (2592, 1944)])
@pytest.mark.parametrize('background', ['black', 'grey', 'white'])
@pytest.mark.parametrize('highlight', [False, True])
def test_everything_stands_out_from_dark_and_bright(
        width: int, height: int, background: str, highlight: bool) -> None:
    image = BACKGROUNDS[background](width, height)
    display = Display(width, height)
    # With saturation marked, white becomes red: the same in another encoding.
    display.settings = DisplaySettings(highlight_saturation=highlight)
    plain = Display(width, height)
    plain.settings = DisplaySettings(
        highlight_saturation=highlight, orientation_indicator=False, text_indicator=False,
        loss_indicator=False)
    picture = display.render(image, ALL_AT_ONCE).astype(int)
    contrast = np.abs(picture - plain.render(image, ALL_AT_ONCE))
    if highlight:
        contrast = contrast.max(axis=2)
    top, left = height // 2, width // 2
    for corner in (contrast[:top, :left], contrast[:top, left:],
                   contrast[top:, :left], contrast[top:, left:]):
        assert np.count_nonzero(corner >= 100) > 0.0005 * width * height


def test_mono_and_color_show_the_same() -> None:
    image = BACKGROUNDS['noise'](752, 480) // 2
    display = Display(752, 480)
    mono = display.render(image, ALL_AT_ONCE).copy()
    display.settings = DisplaySettings(highlight_saturation=True)
    color = display.render(image, replace(ALL_AT_ONCE, lost_before=0))
    assert (color == mono[..., None]).all()


def test_text_changes_with_what_it_tells() -> None:
    image = np.zeros((608, 608), np.uint8)

    def text(**changes: object) -> Image:
        canvas = image.copy()
        Indicators(608, 608, 1).draw_text(canvas, replace(STATE, **changes))  # type: ignore
        return canvas

    pictures = [text(), text(frame_rate=14.3), text(frame_rate=math.nan), text(lost_total=13),
                text(led_text='21 %'), text(led_text='')]
    for k, one in enumerate(pictures):
        assert one.any()
        assert all((one != other).any() for other in pictures[:k])
    assert np.count_nonzero(pictures[-1]) < np.count_nonzero(pictures[0])


def test_the_frame_rate_shown_keeps_still_for_half_a_second_and_a_loss_does_not() -> None:
    indicators = Indicators(608, 608, 1)

    def text(stamp_s: float, frame_rate: float, lost: int) -> Image:
        canvas = np.zeros((608, 608), np.uint8)
        indicators.draw_text(canvas, replace(
            STATE, stamp_s=stamp_s, frame_rate=frame_rate, lost_total=lost))
        return canvas

    first = text(10.0, 30.0, 0)
    assert (text(10.4, 29.1, 0) == first).all()
    assert (text(10.45, 29.1, 1) != first).any()
    assert (text(10.5, 29.1, 0) != first).any()
    assert (text(11.0, 30.0, 0) == first).all()
    text(11.2, 29.1, 0)
    assert (text(0.0, 29.1, 0) != first).any()  # the stream began again


def test_orientation_is_drawn_only_where_there_is_a_sensor() -> None:
    image = np.full((480, 752), 60, np.uint8)
    off = {'text_indicator': False, 'loss_indicator': False}
    without = replace(STATE, has_orientation=False, quaternion=None)
    assert not changed(image, without, **off).any()
    head = changed(image, STATE, **off)
    none = changed(image, replace(STATE, quaternion=None), **off)
    assert head.any() and none.any() and (head != none).any()


def head(quaternion: Quaternion, size: int = 200) -> Image:
    ink = np.zeros((size, size), np.uint8)
    draw_head(ink, quaternion)
    return ink


def test_rotation_matrix_turns_body_axes_into_world_axes() -> None:
    forward, left, up = np.eye(3)
    assert rotation_matrix(LEVEL) == pytest.approx(np.eye(3))
    assert rotation_matrix(turned((0, 0, 1), 90)) @ forward == pytest.approx(left)
    assert rotation_matrix(turned((0, 1, 0), -90)) @ forward == pytest.approx(up)
    assert rotation_matrix(turned((1, 0, 0), 90)) @ left == pytest.approx(up)
    rng = np.random.default_rng(0)
    for _ in range(50):
        w, x, y, z = rng.normal(size=4)
        matrix = rotation_matrix((w, x, y, z))
        assert matrix @ matrix.T == pytest.approx(np.eye(3))
        assert np.linalg.det(matrix) == pytest.approx(1)
        # Roll, pitch and yaw by their own formulas.
        w, x, y, z = np.array((w, x, y, z)) / math.hypot(w, x, y, z)
        assert math.atan2(matrix[2, 1], matrix[2, 2]) == pytest.approx(
            math.atan2(2 * (w * x + y * z), 1 - 2 * (x * x + y * y)))
        assert -matrix[2, 0] == pytest.approx(2 * (w * y - z * x))
        assert math.atan2(matrix[1, 0], matrix[0, 0]) == pytest.approx(
            math.atan2(2 * (w * z + x * y), 1 - 2 * (y * y + z * z)))


@pytest.mark.parametrize('heading', range(-180, 180, 30))
def test_the_bead_shows_the_heading(heading: int) -> None:
    # Nose down or up, so that the head does not hide the bead.
    pitch = 70 if abs(heading) < 90 else -70
    picture = head(product(turned((0, 0, 1), heading), turned((0, 1, 0), pitch)))
    angle = math.radians(heading)
    column = 99.5 - 90 * math.sin(angle)  # a turn to the left goes to the left
    row = 99.5 - 90 * math.cos(angle) * math.sin(math.radians(45))
    assert picture[round(row), min(199, round(column))] == 255


def test_left_and_right_are_mirror_images() -> None:
    for axis in ((0.0, 0.0, 1.0), (1.0, 0.0, 0.0)):
        for angle in (20, 70, 110):
            one, other = head(turned(axis, angle)), head(turned(axis, -angle))
            assert ((one > 0) != (other > 0)[:, ::-1]).mean() < 0.01
            assert (one != other).mean() > 0.1


def test_the_nose_is_nearest_when_the_animal_faces_the_viewer() -> None:
    away, facing = head(LEVEL), head(turned((0, 0, 1), 180))
    # 1.02 before and 0.12 below the middle of a head of 0.84 of the ring, seen from 45 degrees.
    down = 90 * 0.84 * (1.02 + 0.12) * math.sin(math.radians(45))
    assert facing[round(99.5 + down), 99] == 25
    assert away[:100].sum() != facing[:100].sum()


def test_both_quaternions_of_a_pose_and_any_norm_draw_the_same() -> None:
    pose = product(turned((0, 0, 1), 50), turned((0, 1, 0), 20))
    w, x, y, z = pose
    assert (head(pose) == head((-w, -x, -y, -z))).all()
    assert (head(pose) == head((1.03 * w, 1.03 * x, 1.03 * y, 1.03 * z))).mean() > 0.999


def test_every_pose_is_told_apart() -> None:
    poses = [product(turned((0, 0, 1), yaw), product(turned((0, 1, 0), pitch),
                                                     turned((1, 0, 0), roll)))
             for yaw in range(0, 360, 45) for pitch in (-45, 0, 45) for roll in (-45, 0, 45)]
    pictures = [head(pose, 76) for pose in poses]  # as on 608x608
    for k, one in enumerate(pictures):
        for other in pictures[:k]:
            assert (np.abs(one.astype(int) - other) > 50).mean() > 0.02


def test_head_is_at_most_four_frames_old_and_its_absence_shows_at_once() -> None:
    def drawn(indicators: Indicators, quaternion: Quaternion | None, stamp_s: float) -> Image:
        canvas = np.zeros((608, 608), np.uint8)
        indicators.draw_orientation(
            canvas, replace(STATE, quaternion=quaternion, stamp_s=stamp_s))
        return canvas

    turns = [turned((0, 0, 1), 3.0 * k) for k in range(40)]
    fresh = [drawn(Indicators(608, 608, 1), turn, 0.0) for turn in turns]
    nothing = drawn(Indicators(608, 608, 1), None, 0.0)
    indicators = Indicators(608, 608, 1)
    ages = [0]
    for k, turn in enumerate(turns):
        without = k in (20, 21)
        picture = drawn(indicators, None if without else turn, k / 30)
        if without:
            assert np.array_equal(picture, nothing)
            ages.append(0)
        else:
            ages.append(0 if np.array_equal(picture, fresh[k]) else ages[-1] + 1)
            assert np.array_equal(picture, fresh[k - ages[-1]])
    assert max(ages) == 4  # frames at 30/s: it is drawn at each fifth, and kept between
    # Time that runs backwards is another stream.
    assert np.array_equal(drawn(indicators, turns[0], 0.5), fresh[0])


@pytest.mark.parametrize(('width', 'height'), [(16, 12), (64, 48), (160, 120), (31, 200)])
@pytest.mark.parametrize('channels', [1, 3])
def test_tiny_pictures_do_no_harm(width: int, height: int, channels: int) -> None:
    canvas = np.zeros((height, width) if channels == 1 else (height, width, 3), np.uint8)
    indicators = Indicators(width, height, channels)
    indicators.draw_orientation(canvas, ALL_AT_ONCE)
    indicators.draw_orientation(canvas, replace(ALL_AT_ONCE, quaternion=None))
    indicators.draw_text(canvas, ALL_AT_ONCE)
    indicators.draw_dark_light(canvas)
    indicators.draw_loss(canvas, 12345)
    assert canvas.any()
