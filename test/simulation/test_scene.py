# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The simulated tissue and head: what the pictures show is what the truth says."""
import math

import cv2
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import BLACK, Exposure, PHOTONS, READ_NOISE, Scene
import numpy as np
import pytest

STEP = 1 / 30
LED_20 = Exposure(0.2, 1.0, 0.0)


@pytest.fixture(scope='module')
def scene():
    return Scene(608, 608, seed=1, step_s=STEP)


def grey(scene, frame, exposure=LED_20):
    out = np.zeros((scene.height, scene.width, 2), np.uint8)
    scene.render(frame, exposure, out)
    assert (out[..., 1] == 128).all()
    return out[..., 0]


def sharpness(image):
    return cv2.Laplacian(cv2.GaussianBlur(image.astype(float), (0, 0), 2), cv2.CV_64F).var()


def test_the_same_seed_gives_the_same_frames_in_any_order(scene):
    other = Scene(608, 608, seed=1, step_s=STEP)
    forth = [grey(scene, frame) for frame in (1, 2, 900)]
    grey(other, 5, Exposure(0.7, 3.5, 60.0))
    back = [grey(other, frame) for frame in (900, 2, 1)]
    for one, two in zip(forth, reversed(back), strict=True):
        np.testing.assert_array_equal(one, two)


def test_another_seed_gives_another_field(scene):
    other = Scene(608, 608, seed=2, step_s=STEP)
    correlation = np.corrcoef(
        *(cv2.resize(grey(s, 1), (76, 76), interpolation=cv2.INTER_AREA).ravel()
          for s in (scene, other)))[0, 1]
    assert correlation < 0.9
    assert not np.allclose(scene.cell_positions, other.cell_positions)


def test_it_looks_like_a_scope_at_an_led_of_20_percent(scene):
    image = grey(scene, 1)
    assert 60 < image.mean() < 120
    assert image.max() < 255
    middle, corners = image[250:350, 250:350], image[[0, 0, -1, -1], [0, -1, 0, -1]]
    assert corners.max() < 0.7 * middle.mean()


def test_without_light_there_is_sensor_noise_alone(scene):
    image = grey(scene, 1, Exposure(0.0, 1.0, 0.0)).astype(float)
    assert image.mean() == pytest.approx(BLACK, abs=0.05)
    assert image.std() == pytest.approx(READ_NOISE, abs=0.1)
    # The same everywhere: no trace of the tissue.
    assert cv2.resize(image, (8, 8), interpolation=cv2.INTER_AREA).std() < 0.03


@pytest.mark.parametrize('brightness', (0.02, 0.1, 0.2, 0.3))
def test_brightness_is_proportional(scene, brightness):
    signal = grey(scene, 1).mean() - BLACK
    lit = grey(scene, 1, Exposure(brightness, 1.0, 0.0))
    assert lit.max() < 255
    assert lit.mean() - BLACK == pytest.approx(signal * brightness / 0.2, rel=0.02)


@pytest.mark.parametrize('gain', (1.0, 3.5))
def test_noise_grows_as_the_root_of_the_brightness(scene, gain):
    frames = np.stack([grey(scene, n, Exposure(0.2, gain, 0.0)) for n in range(1, 41)]).astype(
        float)
    # Differences of neighbours hold hardly any motion or activity.
    variance = cv2.blur(np.diff(frames, axis=0).var(axis=0) / 2, (25, 25))
    mean = cv2.blur(frames.mean(axis=0), (25, 25))
    expected = (mean - BLACK) * gain / PHOTONS + READ_NOISE ** 2 + 1 / 12  # rounding
    assert np.median(np.abs(variance / expected - 1)) < 0.1
    assert mean.max() > 2 * mean.min()


def test_noise_is_new_in_every_frame(scene):
    one, two, three = (grey(scene, n).astype(float) for n in (1, 2, 3))
    correlation = np.corrcoef((one - two).ravel(), (three - two).ravel())[0, 1]
    assert correlation == pytest.approx(0.5, abs=0.05)  # what they share is frame 2


def test_sharpness_falls_with_the_distance_from_the_best_focus(scene):
    measured = [
        sharpness(grey(scene, 1, Exposure(0.2, 1.0, focus))) for focus in (0, 15, 40, 80, 127)]
    assert measured == sorted(measured, reverse=True)
    assert measured[0] > 10 * measured[-1]
    assert sharpness(grey(scene, 1, Exposure(0.2, 1.0, -40))) == pytest.approx(measured[2])


def test_cells_light_up_where_and_when_the_truth_says(scene):
    frames = range(1, 451, 3)
    activity = np.array([scene.activity(n) for n in frames])
    images = [grey(scene, n).astype(np.float32) for n in frames]
    busy = np.argsort(activity.max(axis=0))[-20:]
    alone = [  # without a neighbour in the ring around it
        cell for cell in busy
        if np.sort(np.hypot(*(scene.cell_positions - scene.cell_positions[cell]).T))[1] > 40
        and (abs(scene.cell_positions[cell] - 304) < 260).all()]
    assert len(alone) >= 3
    for cell in alone:
        trace = []
        for n, image in zip(frames, images, strict=True):
            x, y = scene.cell_positions[cell] + scene.motion(n)
            soma = cv2.getRectSubPix(image, (9, 9), (x, y)).mean()
            around = cv2.getRectSubPix(image, (45, 45), (x, y))
            around[8:37, 8:37] = np.nan
            trace.append(soma / np.nanmean(around))
        assert np.corrcoef(trace, activity[:, cell])[0, 1] > 0.9


def test_transients_rise_fast_decay_slowly_and_cross_the_blocks_of_their_drawing(scene):
    activity = np.array([scene.activity(n) for n in range(3000)])
    assert activity.shape == (3000, 100)
    assert activity.min() >= 0
    assert (activity.max(axis=0) > 0.3).mean() > 0.9  # nearly every cell is active in 100 s
    assert 0.02 < (activity > 0.3).mean() < 0.3  # and each is silent most of the time
    high = activity[:-1] > 0.3
    lasting = activity[1:][high] / activity[:-1][high]
    assert lasting.min() > 0.9  # decay times of 0.4 s and longer at 30 frames/s


def test_the_tissue_drifts_as_the_truth_says(scene):
    # Structure alone: no shading, and no noise that is finer than the optics.
    images = {
        n: cv2.GaussianBlur(image, (0, 0), 2) - cv2.GaussianBlur(image, (0, 0), 8)
        for n in (1, 90, 300, 700) for image in [grey(scene, n).astype(np.float32)]}
    moved = []
    for n in (90, 300, 700):
        _, transform = cv2.findTransformECC(
            images[1], images[n], np.eye(2, 3, dtype=np.float32), cv2.MOTION_TRANSLATION)
        true = np.subtract(scene.motion(n), scene.motion(1))
        np.testing.assert_allclose(transform[:, 2], true, atol=0.1)
        moved.append(math.hypot(*true))
    assert max(moved) > 1


def test_motion_is_slow_and_small(scene):
    path = np.array([scene.motion(n) for n in range(9000)])
    assert 1 < np.abs(path).max() < 5
    assert np.abs(np.diff(path, axis=0)).max() < 0.2


@pytest.mark.parametrize('size', ((752, 480), (1296, 972), (2592, 1944)))
def test_any_size_shows_the_whole_field(size):
    scene = Scene(*size, seed=1, step_s=STEP)
    image = grey(scene, 1)
    assert image.shape == size[::-1]
    assert 60 < image.mean() < 120
    x, y = scene.cell_positions.T
    assert 0 < x.min() < 0.1 * size[0] < 0.9 * size[0] < x.max() < size[0]
    assert 0 < y.min() < 0.1 * size[1] < 0.9 * size[1] < y.max() < size[1]


@pytest.mark.parametrize('seed', (1, 2, 3))
def test_the_head_turns_smoothly_and_rests(seed):
    head = HeadPath(seed, STEP)
    path = np.array([head.orientation(n) for n in range(3000)])
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-12)
    turned = 2 * np.arccos(np.clip((path[1:] * path[:-1]).sum(axis=1), -1, 1))  # [rad]
    assert turned.max() < math.radians(15)
    raw = [head.raw(n) for n in range(3000)]
    assert all(one != two for one, two in zip(raw[:30], raw[1:31], strict=True))
    repeats = ''.join(
        'r' if one == two else 'm' for one, two in zip(raw[:-1], raw[1:], strict=True))
    assert 'r' * 90 in repeats  # a rest of 3 s
    assert 0.2 < repeats.count('r') / len(repeats) < 0.7
    assert head.raw(77) == HeadPath(seed, STEP).raw(77) != HeadPath(seed + 9, STEP).raw(77)
