# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Writes small recordings in other programs' formats, with the encoders these use."""
from collections.abc import Sequence
from fractions import Fraction
import json
from pathlib import Path
import struct

import cv2
import numpy as np
from numpy.typing import NDArray
import pytest

Image = NDArray[np.uint8]

START_MS = 1_700_000_000_123
TURN = (0.8, 0.0, 0.6, 0.0)  # a unit quaternion w, x, y, z
STAMPS_HEADER = 'Frame Number,Time Stamp (ms),Buffer Index'


def scenes(count: int, height: int = 48, width: int = 64) -> list[Image]:
    """Return different grey images with all values from 0 to 255 in them."""
    rng = np.random.default_rng(7)
    scene = cv2.GaussianBlur(rng.integers(0, 256, (height, width), np.uint8), (0, 0), 2)
    scene = cv2.normalize(scene, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    return [np.roll(scene, 3 * number, axis=1) for number in range(count)]


def write_avi(path: Path, images: Sequence[Image], codec: str) -> None:
    """Write as the Miniscope-DAQ software does: always 60 frames/s."""
    height, width = images[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*codec), 60,
                             (width, height), images[0].ndim == 3)
    assert writer.isOpened()
    for image in images:
        writer.write(image)
    writer.release()


def write_miniscope_daq(
    folder: Path,
    images: Sequence[Image],
    times_ms: Sequence[float],
    codec: str = 'FFV1',
    per_file: int = 1000,
    counts: Sequence[float] | None = None,
    rows: Sequence[Sequence[float]] | None = None,
) -> Path:
    """Write a device's folder, with the recording's metadata in the folder above it."""
    folder.mkdir(parents=True)
    for first in range(0, len(images), per_file):
        write_avi(folder / f'{first // per_file}.avi', images[first:first + per_file], codec)
    lines = [STAMPS_HEADER + (',DAQ Frame Number' if counts else '')]
    for number, stamp in enumerate(times_ms):
        lines.append(f'{number},{stamp},0' + (f',{counts[number]}' if counts else ''))
    (folder / 'timeStamps.csv').write_text('\n'.join(lines) + '\n')
    if rows is not None:
        table = ['Time Stamp (ms),qw,qx,qy,qz', *(','.join(map(str, row)) for row in rows)]
        (folder / 'headOrientation.csv').write_text('\n'.join(table) + '\n')
    (folder / 'metaData.json').write_text(json.dumps({
        'deviceName': 'My scope', 'deviceType': 'Miniscope_V4_BNO', 'deviceID': 0,
        'framesPerFile': per_file, 'compression': codec, 'frameRate': '20FPS', 'gain': 'Low',
        'led0': 12, 'ewl': -3}))
    (folder.parent / 'metaData.json').write_text(json.dumps({
        'researcherName': '', 'recordingStartTime': {'year': 2023, 'msecSinceEpoch': START_MS},
        'miniscopes': ['My scope'], 'cameras': []}))
    return folder


def write_mkv(path: Path, images: Sequence[Image], codec: str = 'ffv1',
              pixels: str = 'gray', rate: int = 20) -> None:
    """Write a Matroska file, the images as they are if the codec is lossless."""
    av = pytest.importorskip('av', reason='PyAV is not installed: pip install av')
    with av.open(str(path), 'w') as container:
        stream = container.add_stream(codec, rate=rate)
        stream.height, stream.width = images[0].shape[:2]
        stream.pix_fmt = pixels
        stream.time_base = Fraction(1, 1000)
        for number, image in enumerate(images):
            source = 'gray' if image.ndim == 2 else 'bgr24'
            frame = av.VideoFrame.from_ndarray(image, format=source).reformat(format=pixels)
            frame.pts = number * 1000 // rate
            frame.time_base = Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_pomidaq(folder: Path, name: str, images: Sequence[Image],
                  times_ms: Sequence[int]) -> Path:
    """Write one video with its time stamps; frames are numbered from 1."""
    folder.mkdir(parents=True, exist_ok=True)
    write_mkv(folder / f'{name}.mkv', images)
    lines = ['frame; timestamp', *(f'{n}; {ms}' for n, ms in enumerate(times_ms, 1))]
    (folder / f'{name}_timestamps.csv').write_text('\n'.join(lines) + '\n')
    return folder


def write_pomidaq_rows(folder: Path, name: str, rows: Sequence[Sequence[float]]) -> None:
    """Write the orientation, whose rows have a value more than the header has names."""
    lines = ['Time [ms];qw;qx;qy;qz', *(';'.join(map(str, [*row, 0.001])) for row in rows)]
    (folder / f'{name}_orientation.csv').write_text('\n'.join(lines) + '\n')


def write_tsync(path: Path, times: Sequence[int], microseconds: bool = True,
                created: int = START_MS // 1000) -> None:
    """Write a time map, version 1.2, in blocks of 4 entries."""
    xxhash = pytest.importorskip('xxhash', reason='edlio is not installed: pip install edlio')
    end_of_block = struct.pack('<Q', 0x1126000000000000)
    block_size = 4

    summed = xxhash.xxh3_64()

    def piece(data: bytes) -> bytes:
        summed.update(data)
        return data

    def text(value: bytes) -> bytes:
        return struct.pack('<I', len(value)) + piece(value)  # lengths are not in the checksum

    content = struct.pack('<Q', 0xF223434E5953548A)
    content += piece(struct.pack('<HHq', 1, 2, created))
    content += text(b'Video Recorder') + text(b'a87011dd-80a7-429c-af2f-e8d7608bc0ea')
    content += text(b'{}') + piece(struct.pack('<Hi', 0, block_size))
    content += text(b'frame-no') + piece(struct.pack('<HH', 0, 7))
    content += text(b'master-time') + piece(struct.pack('<HH', 2 if microseconds else 3, 8))
    content += piece(bytes(-len(content) % 8))
    content += end_of_block + struct.pack('<Q', summed.intdigest())
    entries = [struct.pack('<IQ', number, stamp) for number, stamp in enumerate(times, 1)]
    for first in range(0, len(entries), block_size):
        block = b''.join(entries[first:first + block_size])
        content += block + end_of_block + struct.pack('<Q', xxhash.xxh3_64(block).intdigest())
    path.write_bytes(content)


def write_unit(folder: Path, kind: str, content: str = '') -> Path:
    """Write the manifest of one unit of an Experiment Directory Layout; return its folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / 'manifest.toml').write_text(
        f"format_version = '1'\ntype = '{kind}'\n"
        f'time_created = 2023-11-14T22:14:00+00:00\n{content}')
    return folder


def _files(key: str, kind: str, names: Sequence[str]) -> str:
    parts = [f"[[{key}.parts]]\nfname = '{name}'\nindex = {number}\n"
             for number, name in enumerate(names)]
    return f'[{key}]\n{kind}\n' + ''.join(parts)


def write_syntalos(
    root: Path,
    parts: Sequence[Sequence[Image]],
    times_us: Sequence[Sequence[int]],
    *,
    tables: dict[str, str] | None = None,
    video: str = 'miniscope',
    codec: str = 'ffv1',
    pixels: str = 'gray',
) -> Path:
    """Write a collection with one video of several parts, and tables in datasets of their own."""
    videos = [f'scope_{number}.mkv' for number in range(len(parts))]
    maps = [f'scope_{number}.tsync' for number in range(len(parts))]
    write_unit(root, 'collection')
    write_unit(root / 'videos', 'group')
    folder = write_unit(
        root / 'videos' / video, 'dataset',
        _files('data', "media_type = 'video/x-matroska'", videos)
        + _files('data_aux', "file_type = 'tsync'", maps))
    (folder / 'attributes.toml').write_text('[video]\ncolored = false\nframerate = 20.0\n')
    for number, images in enumerate(parts):
        write_mkv(folder / videos[number], images, codec, pixels)
        write_tsync(folder / maps[number], times_us[number])
    for name, content in (tables or {}).items():
        table = write_unit(root / name, 'dataset',
                           _files('data', "media_type = 'text/csv'", ['table.csv']))
        (table / 'table.csv').write_text(content)
    return root
