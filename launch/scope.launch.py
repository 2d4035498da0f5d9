# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Start one Miniscope; with record also the recorder, with viewer also something to look at."""
from fnmatch import fnmatch
import os
from os.path import expanduser
from pathlib import Path
from shutil import which
import subprocess

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
import yaml

PACKAGE = 'miniscope_ros'
CONFIG = Path(get_package_share_directory(PACKAGE)) / 'config'
PROGRAMS = Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE
# Jazzy reads the one, Kilted and later the other.
PROFILE_VARIABLES = ('FASTRTPS_DEFAULT_PROFILES_FILE', 'FASTDDS_DEFAULT_PROFILES_FILE')
# The recorder is stopped after the node, which may take 4 s, and has to empty its cache.
RECORDER_PATIENCE = '40'  # [s]
LIGHTS_OFF_PATIENCE = 30  # [s]
# Killed, ros2 launch would leave its programs running and the light on.
PREFIX = LaunchConfiguration(
    'launch-prefix', default='setpriv --pdeathsig INT' if which('setpriv') else '')

ARGUMENTS = [
    ('name', 'miniscope', 'Name of the node; its topics are below it.', None),
    ('namespace', '', 'Namespace of the node.', None),
    ('source', '', 'Where frames come from; not given: daq.',
     ['', 'daq', 'camera', 'simulated', 'replay']),
    ('device', '', 'Which one: a path, a name in /dev/v4l/by-path or a number; not given: the '
     'only one found.', None),
    ('device_type', '', 'A type of the catalogue; not given: Miniscope_V4_BNO.', None),
    ('frame_rate', '', 'Frames/s, one of the choices of the type; not given: its start value.',
     None),
    ('led', '', 'Excitation LED in the units of the type (percent; V3: 0 to 255); not given: 0.',
     None),
    ('params_file', '', 'A YAML file with parameters of the node. It wins over '
     'config/scope.yaml, arguments win over it.', None),
    ('record', '', 'Folder of a new bag to record into; not given: no recording.', None),
    ('record_display', 'false', 'Whether image_display is recorded, too.', ['true', 'false']),
    ('viewer', 'none', 'What to look with.', ['none', 'rqt', 'rviz']),
    ('panel', 'false', 'Whether to serve the page in the browser, at http://127.0.0.1:8642/.',
     ['true', 'false']),
    ('log_level', 'info', 'What the node logs.', ['debug', 'info', 'warn', 'error', 'fatal']),
]
TEXTS = ('source', 'device', 'device_type')
NUMBERS = ('frame_rate', 'led')


def generate_launch_description():
    """Return the arguments, the DDS profile, and what the arguments ask for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS]
    profile = [
        SetEnvironmentVariable(variable, str(CONFIG / 'fastdds.xml'))
        for variable in PROFILE_VARIABLES if variable not in os.environ]
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start)])


def start(context):
    """Return the programs to run."""
    asked = context.launch_configurations
    scope = '/' + '/'.join(filter(None, (*asked['namespace'].split('/'), asked['name'])))
    files, given = parameters(asked)
    in_force = {**from_files(scope, files), **given}

    def after_node(event, _):
        if event.returncode == 0:
            return Shutdown(reason='scope_node has ended')
        lights_off(in_force)
        # Only an exception gives ros2 launch an exit code that is not 0.
        raise RuntimeError(f'scope_node has failed, exit code {event.returncode}')

    actions = [Node(
        package=PACKAGE, executable='scope_node', name=asked['name'],
        namespace=asked['namespace'], exec_name='scope_node', prefix=PREFIX, output='screen',
        emulate_tty=True, on_exit=after_node,
        # Without a type a device of digits would become a number.
        parameters=[*files, {
            name: ParameterValue(value, value_type=type(value)) for name, value in given.items()}],
        ros_arguments=['--log-level', f'{scope[1:].replace("/", ".")}:={asked["log_level"]}'])]
    if asked['record']:
        display = ['--display'] if asked['record_display'] == 'true' else []
        actions.append(ExecuteProcess(
            cmd=[str(PROGRAMS / 'record_scope'), scope, expanduser(asked['record']), *display],
            name='record_scope', prefix=PREFIX, output='screen',
            sigterm_timeout=RECORDER_PATIENCE, on_exit=after_recorder))
    return [*actions, *viewer(asked['viewer'], f'{scope}/image_display'), *panel(asked['panel'])]


def parameters(asked):
    """Return the parameter files and, stronger than these, the parameters given as arguments."""
    given = {name: asked[name] for name in TEXTS if asked[name]}
    for name in NUMBERS:
        if asked[name]:
            try:
                given[name] = float(asked[name])
            except ValueError:
                raise RuntimeError(f'{name}:={asked[name]} is not a number') from None
    if asked['viewer'] == 'rviz':
        given['publish_tf'] = True  # else the layout's world is empty
    if asked['record']:
        # Who records activates, as soon as the recorder listens.
        given['auto_start'] = False
    files = [str(CONFIG / 'scope.yaml')]
    if asked['params_file']:
        files.append(expanduser(asked['params_file']))
    return files, given


def from_files(scope, files):
    """Return the parameters that files give to the scope of this full name."""
    values = {}
    for file in files:
        try:
            for name, section in yaml.safe_load(Path(file).read_text()).items():
                if fnmatch(scope, f'/{name.lstrip("/")}'):
                    values.update(section['ros__parameters'])
        except OSError as error:
            raise RuntimeError(f'{file} cannot be read: {error.strerror}') from None
        except Exception as error:
            raise RuntimeError(
                f'{file} is not a YAML file with NODE: ros__parameters: ..: '
                f'{" ".join(str(error).split())}') from None
    return values


def lights_off(values):
    """Make the light dark where the node may not have done it."""
    if values.get('source', 'daq') != 'daq':
        return
    options = [
        f'--{name.replace("_", "-")}={values[name]}'
        for name in ('device_type', 'device_catalog') if values.get(name)]
    # No action of launch: it would start none while shutting down.
    subprocess.run(
        [PROGRAMS / 'lights_off', *options, str(values.get('device', ''))], check=False,
        timeout=LIGHTS_OFF_PATIENCE)


def after_recorder(event, _):
    """Do not let the scope run on unrecorded."""
    if event.returncode == 0:
        return Shutdown(reason='the recorder has ended')
    raise RuntimeError('the recording has failed, see above')


def viewer(kind, topic):
    """Return what shows an image topic."""
    if kind == 'rqt':
        return [Node(package='rqt_image_view', executable='rqt_image_view', arguments=[topic])]
    if kind == 'rviz':
        return [Node(
            package='rviz2', executable='rviz2', arguments=['-d', str(CONFIG / 'scope.rviz')],
            remappings=[('/image_display', topic)])]
    return []


def panel(wanted):
    """Return what serves the page in the browser; its end leaves the scope alone."""
    if wanted == 'false':
        return []
    return [Node(
        package=PACKAGE, executable='panel', exec_name='panel', prefix=PREFIX, output='screen')]
