# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The scope node's parameters: names, defaults, limits, and the rules between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from miniscope_ros.acquisition.orientation import MAX_RATE_RAD_PER_S
from miniscope_ros.daq.catalogue import DeviceType
from miniscope_ros.daq.control import Control, LIGHTS
from miniscope_ros.node.parameters import Mutability, ParameterSpec, Rule

SOURCES = ('daq', 'camera', 'simulated', 'replay')
COLUMNS = ('Time [ms]', 'qw', 'qx', 'qy', 'qz')

_CAMERA_RATES = (0.1, 1000.0)

SOURCE = ParameterSpec(
    'source',
    'daq',
    'where frames come from: daq (a Miniscope on its DAQ box), camera (any '
    'other camera, a video file or a URL), simulated (a Miniscope that needs no hardware), replay '
    '(a recording)',
    Mutability.FIXED,
    choices=SOURCES,
)
DEVICE_CATALOG = ParameterSpec(
    'device_catalog',
    '',
    "file with more device types; its format is that of the package's own device_types.yaml",
    Mutability.FIXED,
)

_TEXTS = {
    'frame_rate': 'frames/s as labelled; it sets the exposure, hence the brightness',
    'led': 'excitation LED in the units of the device type; lit only while active',
    'led2': 'second excitation LED, as led',
    'focus': 'electrowetting lens',
    'gain': 'gain of the sensor',
}


def device_type_spec(names: tuple[str, ...]) -> ParameterSpec:
    """Return device_type, which is one of the catalogue's names."""
    return ParameterSpec(
        'device_type',
        'Miniscope_V4_BNO',
        'type in the catalogue of device types',
        Mutability.FIXED,
        choices=names,
    )


def common_specs(frame_prefix: str) -> list[ParameterSpec]:
    """Return what every source has; frame_prefix begins the default frame ids."""
    return [
        ParameterSpec(
            'device',
            '',
            'which device: empty = the only one found; a path, a name in '
            '/dev/v4l/by-path, or a number as a text',
            Mutability.UNCONFIGURED,
        ),
        ParameterSpec(
            'table_header',
            list(COLUMNS),
            'names of the columns of orientation_rows',
            length=len(COLUMNS),
        ),
        ParameterSpec(
            'frame_id', f'{frame_prefix}_optical_frame', 'frame of images and frame_info'
        ),
        ParameterSpec(
            'imu_frame_id', f'{frame_prefix}_imu_link', 'frame of the orientation sensor'
        ),
        ParameterSpec(
            'display.mode',
            'raw',
            'what image_display shows',
            choices=('raw', 'background_difference', 'delta_f_over_f'),
        ),
        ParameterSpec(
            'display.background_alpha',
            0.01,
            'share of a new frame in the running background',
            minimum=0.001,
            maximum=0.99,
        ),
        ParameterSpec('display.minimum', 0, 'grey level shown as black', minimum=0, maximum=254),
        ParameterSpec('display.maximum', 255, 'grey level shown as white', minimum=1, maximum=255),
        ParameterSpec('display.orientation_indicator', True, 'draw how the head is held'),
        ParameterSpec('display.text_indicator', True, 'write frame rate, lost frames and LED'),
        ParameterSpec('display.loss_indicator', True, 'mark lost frames for half a second'),
        ParameterSpec(
            'display.delta_f_maximum',
            0.2,
            'relative change shown as white in delta_f_over_f',
            minimum=0.001,
            maximum=100.0,
        ),
        ParameterSpec(
            'display.jpeg_quality',
            85,
            'of image_display/compressed; from 97 on it keeps the noise of the sensor',
            minimum=1,
            maximum=100,
        ),
        ParameterSpec(
            'display.max_rate',
            0.0,
            'most display frames per second, 0 = every frame',
            minimum=0.0,
            maximum=1000.0,
        ),
        ParameterSpec('display.highlight_saturation', False, 'show saturated pixels in red'),
        ParameterSpec(
            'display.color_map',
            'none',
            'colours of image_display',
            choices=('none', 'green', 'red', 'inferno'),
        ),
        ParameterSpec(
            'orientation.max_norm_error',
            0.05,
            'how far the norm of a valid quaternion may be from 1',
            minimum=0.0,
            maximum=1.0,
        ),
        ParameterSpec(
            'orientation.max_rate',
            MAX_RATE_RAD_PER_S,
            'how fast a head may turn [rad/s]; a single reading that turns it faster is invalid',
            minimum=0.1,
            maximum=1e6,
        ),
        ParameterSpec(
            'orientation.skip_repeated', True, 'do not publish a reading equal to the last one'
        ),
        ParameterSpec(
            'orientation.stddev',
            0.0,
            'standard deviation of the orientation [rad], 0 = unknown',
            minimum=0.0,
            maximum=3.2,
        ),
        ParameterSpec(
            'orientation.stale_after',
            30.0,
            'seconds without change after which a reading counts as stale',
            minimum=0.1,
            maximum=86400.0,
        ),
        ParameterSpec(
            'publish_tf',
            False,
            'broadcast world_frame_id -> imu_frame_id',
            Mutability.UNCONFIGURED,
        ),
        ParameterSpec('world_frame_id', 'world', 'parent frame of the broadcast'),
        ParameterSpec(
            'camera_info_url',
            '',
            'calibration file: a path, file:// or package:// URL',
            Mutability.UNCONFIGURED,
        ),
        ParameterSpec('sync_output', True, 'toggle the sync output of the DAQ box while active'),
        ParameterSpec(
            'auto_start', True, 'configure and activate by itself at start', Mutability.FIXED
        ),
        ParameterSpec(
            'reconnect', True, 'look for a device that is lost, and go on when it is back'
        ),
        ParameterSpec(
            'diagnostics_period',
            1.0,
            'seconds between two messages on /diagnostics',
            minimum=0.1,
            maximum=60.0,
        ),
    ]


DAQ_SPECS = [
    ParameterSpec(
        'transport',
        'auto',
        'how the box is reached: v4l2 (the kernel), usb (UVC in user space by libusb: fresh '
        "orientation, counter and inputs on every kernel), auto (usb where the kernel's readings "
        'are stale and the rights are there, else v4l2)',
        Mutability.FIXED,
        choices=('auto', 'v4l2', 'usb'),
    ),
]

TRIGGER_SPECS = [
    ParameterSpec(
        'trigger.input',
        -1,
        'which digital input is the trigger; -1 = none',
        minimum=-1,
        maximum=7,
    ),
    ParameterSpec(
        'trigger.action',
        'none',
        'what the trigger does: light (dark while the input is low), record (the session records '
        'while it is high)',
        choices=('none', 'light', 'record'),
    ),
]

REPLAY_SPECS = [
    ParameterSpec(
        'replay.path',
        '',
        'the recording: a folder of Miniscope-DAQ or Syntalos, a PoMiDAQ '
        'file, or a rosbag2 recording',
        Mutability.UNCONFIGURED,
    ),
    ParameterSpec('replay.loop', False, 'begin again at the end', Mutability.UNCONFIGURED),
    ParameterSpec(
        'replay.rate',
        1.0,
        'how many times faster than recorded',
        Mutability.UNCONFIGURED,
        minimum=0.01,
        maximum=100.0,
    ),
    ParameterSpec(
        'replay.stamps',
        'now',
        'stamps of the time of replaying, or the recorded ones',
        Mutability.UNCONFIGURED,
        choices=('now', 'original'),
    ),
]

CAMERA_SPECS = [
    ParameterSpec(
        'frame_rate',
        30.0,
        'frames/s asked of the camera',
        Mutability.UNCONFIGURED,
        minimum=_CAMERA_RATES[0],
        maximum=_CAMERA_RATES[1],
    ),
    ParameterSpec(
        'image_width',
        0,
        'width asked of the camera [pixels], 0 = its own; list_devices lists what it offers',
        Mutability.UNCONFIGURED,
        minimum=0,
        maximum=16384,
    ),
    ParameterSpec(
        'image_height',
        0,
        'height asked of the camera [pixels], 0 = its own',
        Mutability.UNCONFIGURED,
        minimum=0,
        maximum=16384,
    ),
    ParameterSpec(
        'pixel_format',
        '',
        'pixel format asked of the camera, four characters as YUYV, MJPG or GREY; empty = its '
        'own, or another one of that size that reaches frame_rate',
        Mutability.UNCONFIGURED,
    ),
    ParameterSpec(
        'exposure',
        0.0,
        'exposure asked of the camera, for UVC cameras in units of 0.1 ms; it switches automatic '
        'exposure off; 0 = as it is',
        Mutability.UNCONFIGURED,
        minimum=0.0,
        maximum=1e6,
    ),
]


def control_specs(device_type: DeviceType) -> list[ParameterSpec]:
    """Return the controls of a device type, and the ceiling of its lights."""
    specs = [_control_spec(control) for control in device_type.controls.values()]
    if device_type.lights:
        top = max(light.maximum or 0.0 for light in device_type.lights)
        specs.append(
            ParameterSpec(
                'max_led',
                top,
                'ceiling for led and led2',
                Mutability.UNCONFIGURED,
                minimum=0.0,
                maximum=top,
            )
        )
    return specs


def source_specs(source: str, device_type: DeviceType) -> list[ParameterSpec]:
    """Return what one source has beside the common parameters; the type matters to scopes only."""
    if source == 'replay':
        return REPLAY_SPECS
    if source == 'camera':
        return CAMERA_SPECS
    own = DAQ_SPECS if source == 'daq' else []
    return [*own, *control_specs(device_type), *TRIGGER_SPECS]


def has_device_type(source: str) -> bool:
    """Return whether a source is a scope, of some device type."""
    return source in ('daq', 'simulated')


def elsewhere(name: str, source: str, catalogue: Mapping[str, DeviceType]) -> str:
    """Return in words which other sources or device types have a parameter; '' if none has."""
    sources = [
        other for other in SOURCES
        if any(spec.name == name for device_type in catalogue.values()
               for spec in source_specs(other, device_type))]
    if source in sources:
        return 'device_type ' + ', '.join(
            device_type.name for device_type in catalogue.values()
            if name in device_type.controls)
    return ', '.join(f'source {other}' for other in sources)


def _control_spec(control: Control) -> ParameterSpec:
    light = control.name in LIGHTS
    start: float | int = 0.0 if light else control.start
    when = Mutability.INACTIVE if control.name == 'frame_rate' else Mutability.ALWAYS
    text = _TEXTS.get(control.name, control.name)
    if control.choices is not None:
        choices = tuple(sorted(float(choice) for choice in control.choices))
        return ParameterSpec(control.name, float(start), text, when, choices=choices)
    if control.name == 'focus':
        start = int(start)
    return ParameterSpec(
        control.name, start, text, when, minimum=control.minimum, maximum=control.maximum
    )


def _window(values: Mapping[str, Any]) -> str | None:
    low, high = values['display.minimum'], values['display.maximum']
    if low < high:
        return None
    return f'display.minimum {low} has to be below display.maximum {high}'


def _trigger(values: Mapping[str, Any]) -> str | None:
    action = values.get('trigger.action', 'none')
    if action == 'none' or values.get('trigger.input', -1) >= 0:
        return None
    return (f'trigger.action {action} needs a trigger.input: '
            'set it to the number of the input first')


def _ceiling(name: str) -> Rule:
    def rule(values: Mapping[str, Any]) -> str | None:
        if values.get(name, 0.0) <= values.get('max_led', 0.0):
            return None
        return f'{name} {values[name]:g} is above max_led {values["max_led"]:g}'

    return rule


RULES: list[Rule] = [_window, _trigger, *(_ceiling(light) for light in LIGHTS)]
