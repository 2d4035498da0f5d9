# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Bags of known content, as the recorder would have written them from the node's topics."""
from collections.abc import Iterator
from dataclasses import dataclass, field
import heapq
import math
from pathlib import Path
import shutil
from typing import Any

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import get_types_from_msg, get_typestore, Stores
from rosbags.typesys.store import Typestore
import yaml

DEFINITIONS = Path(__file__).parents[2] / 'miniscope_msgs' / 'msg'
EPOCH_NS = 1_790_000_000_123_456_789
MCAP, SQLITE = StoragePlugin.MCAP, StoragePlugin.SQLITE3
UNCOMPRESSED = CompressionMode.NONE


def our_types(changed: dict[str, str] | None = None) -> Typestore:
    """Return a store with our messages; changed replaces definitions by name."""
    store = get_typestore(Stores.ROS2_JAZZY)
    for file in sorted(DEFINITIONS.glob('*.msg')):
        text = (changed or {}).get(file.stem, file.read_text())
        store.register(get_types_from_msg(text, f'miniscope_msgs/msg/{file.stem}'))
    return store


@dataclass
class Scope:
    """One node's acquisition: what its topics carried."""

    node: str = '/miniscope'
    frames: int = 60
    size: tuple[int, int] = (48, 32)  # width, height
    encoding: str = 'mono8'
    first: int = 0  # frame_index of the first recorded frame
    start_ns: int = EPOCH_NS
    period_ms: float = 50.6
    frame_rate: float = 20.0  # the set one [frames/s]
    device_type: str = 'Miniscope_V4_BNO'
    counter: int = 65_500  # of the device at frame 0; -1 unknown
    lost: dict[int, int] = field(default_factory=dict)  # how many before which frame
    led_change: tuple[int, float] | None = None  # from which frame, to what
    orientation: bool = True
    padding: int = 0  # bytes behind each row of an image
    seed: int = 0
    still: set[int] = field(default_factory=set)  # frames that repeat the reading before
    uncounted: set[int] = field(default_factory=set)  # frames whose device count is unknown
    inputs: dict[int, int] = field(default_factory=dict)  # levels from which frame on
    notes: dict[int, str] = field(default_factory=dict)  # before which frame
    content: dict[int, int] = field(default_factory=dict)  # of frames that are not OK

    def index(self, number: int) -> int:
        """Return the frame_index of the number-th recorded frame."""
        return self.first + number

    def lost_until(self, number: int) -> int:
        return sum(count for frame, count in self.lost.items() if frame <= number)

    def time_ms(self, number: int) -> float:
        jitter = 0.4 * math.sin(12.9898 * self.index(number))
        return (self.index(number) + self.lost_until(number)) * self.period_ms + (
            jitter if self.index(number) else 0.0)

    def stamp(self, number: int) -> int:
        return self.start_ns + round(self.time_ms(number) * 1e6)

    def device_count(self, number: int) -> int:
        if self.counter < 0 or number in self.uncounted:
            return -1
        return self.counter + self.index(number) + self.lost_until(number)

    def image(self, number: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Return a frame of which no two are alike and that uses all 256 values."""
        width, height = self.size
        rng = np.random.default_rng((self.seed, self.index(number)))
        shape = (height, width) if self.encoding == 'mono8' else (height, width, 3)
        image = rng.integers(0, 256, shape, dtype=np.uint8)
        image[:8] = np.resize(np.arange(256, dtype=np.uint8), image[:8].shape)
        return image

    def quaternion(self, number: int) -> tuple[float, float, float, float]:
        while number in self.still:
            number -= 1
        angle = 0.01 * self.index(number)
        return tuple(round(16384 * value) / 16384 for value in (
            math.cos(angle), math.sin(angle), 0.0, 0.0))  # type: ignore[return-value]

    def levels(self, number: int) -> int:
        return next((self.inputs[frame] for frame in sorted(self.inputs, reverse=True)
                     if frame <= number), -1)

    def led(self, number: int) -> float:
        if self.led_change and number >= self.led_change[0]:
            return self.led_change[1]
        return 12.5

    def messages(self, types: Typestore) -> Iterator[tuple[str, int, Any]]:
        """Yield topic, time of recording, and message in the order of publishing."""
        def new(package: str, name: str, stamp: int, **fields: Any) -> Any:
            cls = types.types[f'{package}/msg/{name}']
            known = {key for key, _ in types.fielddefs[cls.__msgtype__][1]}
            header = types.types['std_msgs/msg/Header'](
                stamp=types.types['builtin_interfaces/msg/Time'](
                    sec=stamp // 10**9, nanosec=stamp % 10**9), frame_id='miniscope_optical_frame')
            return cls(header=header, **{key: value for key, value in fields.items()
                                         if key in known})

        def controls(stamp: int, led: float) -> Any:
            return new('miniscope_msgs', 'Controls', stamp,
                       names=['led', 'focus', 'gain', 'frame_rate'],
                       values=np.array([led, -5.0, 2.0, self.frame_rate]),
                       raw_values=np.array([223, 122, 228, 5000], np.int64))

        def change(stamp: int, control: str, value: float, reason: int) -> Any:
            return new('miniscope_msgs', 'ControlChange', stamp, control=control, value=value,
                       raw_value=0, reason=reason, first_capture_index=-1)

        before = self.stamp(0) - 300_000_000
        width, height = self.size
        yield 'image_raw/metadata', before, new(
            'miniscope_msgs', 'FrameMetadata', before, framerate=self.frame_rate,
            sensor_framerate=math.nan, has_color=self.encoding != 'mono8', encoding=self.encoding,
            width=width, height=height, device_type=self.device_type)
        yield 'controls', before, controls(before, self.led(0))
        for control, value in (('focus', -5.0), ('gain', 2.0), ('led', self.led(0))):
            yield 'control_changes', before, change(before, control, value, 0)
        for number in range(self.frames):
            stamp = self.stamp(number)
            if self.led_change and number == self.led_change[0]:
                yield 'control_changes', stamp - 1, change(stamp - 1, 'led', self.led(number), 1)
                yield 'controls', stamp - 1, controls(stamp - 1, self.led(number))
            if number in self.inputs:
                yield 'digital_inputs', stamp - 2, new(
                    'miniscope_msgs', 'DigitalInputs', stamp - 2, levels=self.inputs[number])
            if number in self.notes:
                yield '/session/notes', stamp - 3_000_000, new(
                    'miniscope_msgs', 'Note', stamp - 3_000_000, text=self.notes[number])
            rows = self.image(number).reshape(height, -1)
            rows = np.pad(rows, ((0, 0), (0, self.padding)))
            yield 'image_raw', stamp, new(
                'sensor_msgs', 'Image', stamp, height=height, width=width, encoding=self.encoding,
                is_bigendian=0, step=rows.shape[1], data=rows.ravel())
            yield 'frame_info', stamp, new(
                'miniscope_msgs', 'FrameInfo', stamp, frame_index=self.index(number),
                capture_index=self.index(number) + self.lost_until(number),
                lost_before=self.lost.get(number, 0), damaged_before=0,
                loss_evidence=2 if number in self.lost else 0,
                device_frame_count=self.device_count(number), sync_edge=number,
                orientation=self.orientation * (2 if number in self.still else 1),
                stamp_source=0, digital_inputs=self.levels(number),
                time_ms=self.time_ms(number), device_time_ms=math.nan,
                receive_time=types.types['builtin_interfaces/msg/Time'](sec=1, nanosec=0),
                content=self.content.get(number, 1), lost_uncertainty=0)
            if self.orientation and number not in self.still:
                qw, qx, qy, qz = self.quaternion(number)
                yield 'orientation_rows', stamp, new(
                    'miniscope_msgs', 'OrientationRow', stamp, frame_index=self.index(number),
                    time_ms=self.time_ms(number), qw=qw, qx=qx, qy=qy, qz=qz)
        end = self.stamp(self.frames - 1) + 1_000_000
        yield 'control_changes', end, change(end, 'led', 0.0, 3)
        yield 'controls', end, controls(end, 0.0)


def write_bag(path: Path, *scopes: Scope, storage: StoragePlugin = MCAP,
              compression: CompressionMode = UNCOMPRESSED, without: tuple[str, ...] = (),
              types: Typestore | None = None, files: int = 1) -> Path:
    """Write the scopes' messages in the order of time; without names topics to leave out."""
    types = types or our_types()

    def stream(scope: Scope) -> Iterator[tuple[int, str, str, Any]]:
        return ((stamp, scope.node, topic, message)
                for topic, stamp, message in scope.messages(types) if topic not in without)

    messages = heapq.merge(*map(stream, scopes), key=lambda entry: entry[0])
    per_file = -(-sum(scope.frames for scope in scopes) // files)
    parts = []
    for number in range(files):
        part = path.with_name(f'{path.name}_{number}')
        writer = Writer(part, version=8, storage_plugin=storage)
        writer.set_compression(compression, CompressionFormat.ZSTD)
        with writer:
            connections: dict[str, Any] = {}
            images = 0
            for stamp, node, topic, message in messages:
                name = topic if topic.startswith('/') else f'{node}/{topic}'
                if name not in connections:
                    connections[name] = writer.add_connection(name, message.__msgtype__,
                                                              typestore=types)
                writer.write(connections[name], stamp,
                             types.serialize_cdr(message, message.__msgtype__))
                images += topic == 'image_raw'
                if images == per_file and number < files - 1:
                    break
        parts.append(part)
    _join(path, parts)
    return path


def _join(path: Path, parts: list[Path]) -> None:
    """Make one split bag of several."""
    path.mkdir()
    information: dict[str, Any] = {}
    names = []
    for part in parts:
        information = yaml.safe_load((part / 'metadata.yaml').read_text())
        for name in information['rosbag2_bagfile_information']['relative_file_paths']:
            (part / name).rename(path / name)
            names.append(name)
        shutil.rmtree(part)
    information['rosbag2_bagfile_information']['relative_file_paths'] = names
    (path / 'metadata.yaml').write_text(yaml.safe_dump(information))
