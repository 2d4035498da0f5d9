# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The real recording is read as it is."""
from miniscope_ros.recordings.formats import open_recording
import pytest
from real_recording import blink1

MS = 1_000_000  # [ns]


def test_real_recording_is_read_byte_for_byte_with_the_times_of_its_map() -> None:
    folder = blink1()
    av = pytest.importorskip('av')
    edlio = pytest.importorskip('edlio')
    dataset = edlio.load(str(folder)).group_by_name('videos').dataset_by_name('miniscope')
    times_ms = next(dataset.read_aux_data('tsync')).times[:, 1]
    recording = open_recording(str(folder))
    count = 0
    with av.open(str(folder / 'videos' / 'miniscope' / 'msslice_tiny2.mkv')) as container:
        for frame, decoded in zip(recording.frames(), container.decode(video=0), strict=True):
            assert frame.image.tobytes() == decoded.to_ndarray(format='gray').tobytes()
            assert frame.time_ns == times_ms[count] * MS
            assert frame.device_count is None and frame.orientation is None
            count += 1
    assert count == recording.frame_count == len(times_ms) == 1287


def test_real_recording_is_described() -> None:
    recording = open_recording(str(blink1()))
    assert recording.format == (608, 608, 'mono8')
    assert recording.format_name == 'Syntalos'
    assert recording.frame_rate == 20.0
    assert recording.interval_ns == 51 * MS
    assert not recording.has_orientation
    assert recording.controls == {'ewl': '0', 'frameRate': '20', 'gain': '2', 'led0': '0'}
    # 2021-02-08 17:17:31 UTC, when the first frame was written; 65 s before the folder's own time
    assert recording.start_epoch_ns == 1612804651 * 1000 * MS - 40 * MS
    assert len(recording.warnings) == 1 and 'msslice.mkv' in recording.warnings[0]


@pytest.mark.parametrize('below', ['videos', 'videos/miniscope'])
def test_real_recording_is_found_from_any_of_its_folders(below: str) -> None:
    recording = open_recording(str(blink1() / below))
    assert recording.frame_count == 1287 and recording.controls['frameRate'] == '20'


def test_real_colour_camera_beside_it_is_read_in_colour() -> None:
    recording = open_recording(str(blink1() / 'videos' / 'tis-camera'))
    assert recording.format.encoding == 'bgr8'
    assert next(recording.frames()).image.shape == (112, 128, 3)
