# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Start all that a session file names: scopes, cameras, and the node that records them."""
import os
from os.path import expanduser
from pathlib import Path
from shutil import which

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
from miniscope_ros.session.session_file import read_session_file
from miniscope_ros.watch.middleware import profile_variable

PACKAGE = 'miniscope_ros'
CONFIG = Path(get_package_share_directory(PACKAGE)) / 'config'
PROGRAMS = Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE
# The recorder is stopped after the nodes, which may take 4 s, and has to empty its cache.
RECORDER_PATIENCE = '40'  # [s]
# Killed, ros2 launch would leave its programs running and the light on.
PREFIX = LaunchConfiguration(
    'launch-prefix', default='setpriv --pdeathsig INT' if which('setpriv') else '')
ARGUMENTS = [
    ('session', None, 'The session file (YAML); see docs/recording.md.', None),
    ('start', 'false', 'Begin a recording at once, and end with it.', ['true', 'false']),
    ('folder', '', 'Of that recording; not given: by the session file.', None),
]


def generate_launch_description():
    """Return the arguments, the DDS profile, and what the session file asks for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS]
    profile = [] if profile_variable() in os.environ else [
        SetEnvironmentVariable(profile_variable(), str(CONFIG / 'fastdds.xml'))]
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start)])


def start(context):
    """Return the programs to run."""
    asked = context.launch_configurations
    file = expanduser(asked['session'])
    session = read_session_file(Path(file))
    options = ['--start', '--once'] if asked['start'] == 'true' else []
    if asked['folder']:
        options += ['--folder', expanduser(asked['folder'])]
    return [*map(node, session.devices), ExecuteProcess(
        cmd=[str(PROGRAMS / 'session_node'), file, *options], name='session_node', prefix=PREFIX,
        output='screen', sigterm_timeout=RECORDER_PATIENCE, on_exit=after_session)]


def node(device):
    """Return what starts a scope or a camera."""
    files = [str(CONFIG / 'scope.yaml')] if device.is_ours else []
    if device.params_file:
        files.append(expanduser(device.params_file))
    return Node(
        package=device.package or PACKAGE, executable=device.executable or 'scope_node',
        name=device.name, namespace=device.namespace, prefix=PREFIX, output='screen',
        emulate_tty=True, parameters=[*files, {
            # Without a type a device of digits would become a number.
            name: ParameterValue(value, value_type=type(value))
            for name, value in device.parameters.items()}])


def after_session(event, _):
    """Do not let scopes run on unrecorded."""
    if event.returncode != 0:
        # Only an exception gives ros2 launch an exit code that is not 0.
        raise RuntimeError('the session has failed, see above')
    return Shutdown(reason='the session has ended')
