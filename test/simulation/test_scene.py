# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The simulated tissue and head: what the pictures show is what the truth says."""
import math

import cv2
from miniscope_ros.simulation.head_motion import HeadPath
from miniscope_ros.simulation.scene import Exposure, Scene, Strengths
from miniscope_ros.simulation.sensor import BLACK, PHOTONS, READ_NOISE
import numpy as np
import pytest

STEP = 1 / 30
LED_20 = Exposure(0.2, 1.0, 0.0)


@pytest.fixture(scope='module')
def scene():
    return Scene(608, 608, seed=1, head=HeadPath(1))


def grey(scene, frame, exposure=LED_20):
    out = np.zeros((scene.height, scene.width, 2), np.uint8)
    scene.render(frame * STEP, exposure, out)
    assert (out[..., 1] == 128).all()
    return out[..., 0]


def sharpness(image):
    return cv2.Laplacian(cv2.GaussianBlur(image.astype(float), (0, 0), 2), cv2.CV_64F).var()


def test_the_same_seed_gives_the_same_frames_in_any_order(scene):
    other = Scene(608, 608, seed=1, head=HeadPath(1))
    forth = [grey(scene, frame) for frame in (1, 2, 900)]
    grey(other, 5, Exposure(0.7, 3.5, 60.0))
    back = [grey(other, frame) for frame in (900, 2, 1)]
    for one, two in zip(forth, reversed(back), strict=True):
        np.testing.assert_array_equal(one, two)


def test_another_seed_gives_another_field(scene):
    other = Scene(608, 608, seed=2)
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
    activity = np.array([scene.activity(n * STEP) for n in frames])
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
            x, y = scene.cell_positions[cell] + scene.motion(n * STEP)
            soma = cv2.getRectSubPix(image, (9, 9), (x, y)).mean()
            around = cv2.getRectSubPix(image, (45, 45), (x, y))
            around[8:37, 8:37] = np.nan
            trace.append(soma / np.nanmean(around))
        assert np.corrcoef(trace, activity[:, cell])[0, 1] > 0.9


def test_transients_rise_fast_decay_slowly_and_cross_the_blocks_of_their_drawing(scene):
    activity = np.array([scene.activity(n * STEP) for n in range(3000)])
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
        true = np.subtract(scene.motion(n * STEP), scene.motion(STEP))
        np.testing.assert_allclose(transform[:, 2], true, atol=0.1)
        moved.append(math.hypot(*true))
    assert max(moved) > 1


def test_motion_follows_the_acceleration_of_the_head(scene):
    times = np.arange(0, 300, STEP)
    path = np.array([scene.motion(time) for time in times])
    without = still()
    drift = np.array([without.motion(time) for time in times])
    jolts, pulls = path - drift, np.array([HeadPath(1).acceleration(time) for time in times])
    for jolt, pull in zip(jolts.T, pulls.T, strict=True):
        assert np.corrcoef(jolt, pull)[0, 1] > 0.98
    assert 2 < np.abs(path).max() < 8
    assert 0.2 < np.linalg.norm(np.diff(path, axis=0), axis=1).max() < 1.5


def still():
    """Return the same scene without a head."""
    return Scene(608, 608, seed=1)


def test_the_background_fluctuates_as_in_tissue(scene):
    images = np.stack([
        cv2.resize(grey(scene, n), (38, 38), interpolation=cv2.INTER_AREA).astype(float)
        for n in range(0, 1800, 15)]) - BLACK
    total = images.mean(axis=(1, 2))
    assert 0.015 < total.std() / total.mean() < 0.05
    local = images / total[:, None, None]
    assert 0.01 < np.median(local.std(axis=0) / local.mean(axis=0)) < 0.06


def test_each_effect_can_be_switched_off():
    off = Scene(608, 608, seed=1, head=HeadPath(1), strengths=Strengths(
        background=0.0, out_of_focus=0.0, motion=0.0, bleaching=0.0))
    assert off.motion(3.3) == still().motion(3.3)
    assert off.bleached(1e6) == 1.0
    corners = [
        image[:40, :40].mean() / image.mean() for n in range(0, 900, 60)
        for image in [grey(off, n).astype(float)]]
    assert np.std(corners) / np.mean(corners) < 0.01


def test_light_bleaches(scene):
    assert scene.bleached(0.0) == 1.0
    assert 0.97 < scene.bleached(60.0) < 0.995
    assert 0.5 < scene.bleached(3600.0) < 0.7
    out = np.zeros((608, 608, 2), np.uint8)
    means = []
    for dose_s in (0.0, 1800.0):
        scene.render(1.0, LED_20, out, dose_s)
        means.append(out[..., 0].mean() - BLACK)
    assert means[1] / means[0] == pytest.approx(scene.bleached(1800.0), abs=0.01)


def test_time_alone_counts_not_the_rate_of_the_frames(scene):
    at_20 = [scene.activity(n / 20) for n in range(0, 200, 20)]
    at_30 = [scene.activity(n / 30) for n in range(0, 300, 30)]
    np.testing.assert_array_equal(at_20, at_30)


def test_events_are_those_that_the_activity_shows(scene):
    events = scene.events(0.0, 100.0)
    assert len(events.onset_s) > 300 and (np.diff(events.onset_s) >= 0).all()
    for cell in range(0, 100, 10):
        onsets = events.onset_s[events.cell == cell]
        rising = [scene.activity(onset + 0.1)[cell] > scene.activity(onset)[cell]
                  for onset in onsets]
        assert all(rising)


@pytest.mark.parametrize('size', ((752, 480), (1296, 972), (2592, 1944)))
def test_any_size_shows_the_whole_field(size):
    scene = Scene(*size, seed=1)
    image = grey(scene, 1)
    assert image.shape == size[::-1]
    assert 60 < image.mean() < 120
    x, y = scene.cell_positions.T
    assert 0 < x.min() < 0.1 * size[0] < 0.9 * size[0] < x.max() < size[0]
    assert 0 < y.min() < 0.1 * size[1] < 0.9 * size[1] < y.max() < size[1]


@pytest.mark.parametrize('seed', (1, 2, 3))
def test_the_head_turns_smoothly_and_rests(seed):
    head = HeadPath(seed)
    path = np.array([head.orientation(n * STEP) for n in range(3000)])
    np.testing.assert_allclose(np.linalg.norm(path, axis=1), 1, atol=1e-12)
    turned = 2 * np.arccos(np.clip((path[1:] * path[:-1]).sum(axis=1), -1, 1))  # [rad]
    assert turned.max() < math.radians(15)
    raw = [head.raw(n * STEP) for n in range(3000)]
    assert all(one != two for one, two in zip(raw[:30], raw[1:31], strict=True))
    repeats = ''.join(
        'r' if one == two else 'm' for one, two in zip(raw[:-1], raw[1:], strict=True))
    assert 'r' * 90 in repeats  # a rest of 3 s
    assert 0.2 < repeats.count('r') / len(repeats) < 0.7
    assert head.raw(2.5) == HeadPath(seed).raw(2.5) != HeadPath(seed + 9).raw(2.5)
