# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""A real recording, played by the node in one process, arrives whole in another."""
from datetime import timezone
import zlib

from listening import Listener, stamp_ns
from miniscope_msgs.msg import FrameInfo
from node_process import scope_node
import pytest
from real_recording import blink1

FRAMES = 1287
RATE = 10.0  # times as fast as recorded: 200 frames/s


def test_every_frame_of_a_real_recording_arrives_with_its_time() -> None:
    av = pytest.importorskip('av', reason='PyAV is not installed: pip install av')
    edlio = pytest.importorskip('edlio', reason='edlio is not installed: pip install edlio')
    folder = blink1()
    # The display is not asked for, and the writer may keep some seconds of a busy machine.
    given = {
        'source': 'replay', 'auto_start': False, 'replay.path': str(folder),
        'replay.rate': RATE, 'replay.stamps': 'original',
        'qos_overrides./miniscope/image_raw.publisher.depth': 200}
    with scope_node(given) as node, Listener() as ear:
        assert ear.change_state('configure')
        images = ear.listen('image_raw', keep=lambda image: (
            stamp_ns(image), zlib.crc32(image.data), (image.encoding, image.width, image.height)))
        frames = ear.listen('frame_info')
        ear.wait_for_match(images, frames)
        assert ear.change_state('activate')
        ear.wait_for(images, FRAMES)
        ear.wait_for(frames, FRAMES)
        ear.wait_for_state('inactive')  # by itself, at the end of the recording
        node.wait_for_output('played to its end')
        node.wait_for_output(f'{FRAMES} published')

    # What was recorded, read without anything of this package.
    dataset = edlio.load(str(folder)).group_by_name('videos').dataset_by_name('miniscope')
    time_map = next(dataset.read_aux_data('tsync'))
    times_ms = time_map.times[:, 1].tolist()
    created_s = round(time_map.time_created.replace(tzinfo=timezone.utc).timestamp())
    video, = folder.glob('videos/miniscope/*.mkv')
    with av.open(str(video)) as container:
        decoded = [zlib.crc32(frame.to_ndarray(format='gray').tobytes())
                   for frame in container.decode(video=0)]

    assert len(decoded) == len(times_ms) == len(images) == len(frames) == FRAMES
    assert [digest for _, digest, *_ in images] == decoded
    assert {kind for *_, kind in images} == {('mono8', 608, 608)}
    stamps = [stamp for stamp, *_ in images]
    assert stamps == [
        created_s * 1_000_000_000 + (time_ms - times_ms[0]) * 1_000_000 for time_ms in times_ms]
    assert [stamp_ns(frame) for frame in frames] == stamps
    assert [frame.time_ms for frame in frames] == [time_ms - times_ms[0] for time_ms in times_ms]
    assert [frame.frame_index for frame in frames] == list(range(FRAMES))
    assert {frame.stamp_source for frame in frames} == {FrameInfo.STAMP_RECORDED}
