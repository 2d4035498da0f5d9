# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Start one Miniscope; with record also the recorder, with viewer also something to look at."""
import asyncio
from difflib import get_close_matches
from fnmatch import fnmatchcase
import os
from os.path import expanduser
from pathlib import Path
import re
from shutil import which
import signal
import sys
import time

from ament_index_python.packages import get_package_prefix, get_package_share_directory
from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    LogInfo,
    OpaqueFunction,
    SetEnvironmentVariable,
    Shutdown,
)
import launch.logging
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.utilities import prefix_namespace
from miniscope_ros.stop import STALLED_STATUS
from miniscope_ros.watch.left_values import take_left_values
from miniscope_ros.watch.middleware import profile_variable
from miniscope_ros.watch.note import note_of_process
import yaml

PACKAGE = 'miniscope_ros'
CONFIG = Path(get_package_share_directory(PACKAGE)) / 'config'
PROGRAMS = Path(get_package_prefix(PACKAGE)) / 'lib' / PACKAGE
# The recorder is stopped after the node, which may take 4 s, and has to empty its cache.
RECORDER_PATIENCE = '40'  # [s]
SOON = 10.0  # [s]; a node that dies sooner after its start, RESTARTS times in a row, stays dead
RESTARTS = 3
# Killed, ros2 launch would leave its programs running and the light on.
PREFIX = LaunchConfiguration(
    'launch-prefix', default='setpriv --pdeathsig INT' if which('setpriv') else '')
SCOPES = 'miniscope_ros_scopes'  # in the launch's own context: all scopes of it

YES_NO = ['true', 'false']
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
    ('max_led', '', 'Ceiling for the LED, in the same units; not given: that of the type.', None),
    ('gain', '', 'Gain of the sensor, one of the choices of the type; not given: its start value.',
     None),
    ('focus', '', 'Electrowetting lens, a whole number; not given: the start value of the type.',
     None),
    ('display_mode', '', 'What image_display shows; not given: raw.',
     ['', 'raw', 'background_difference', 'delta_f_over_f']),
    ('replay_path', '', 'The recording that source:=replay plays: a folder or a file.', None),
    ('params_file', '', 'A YAML file with parameters of the node. It wins over '
     'config/scope.yaml, arguments win over it.', None),
    ('record', '', 'Folder of a new bag to record into; not given: no recording.', None),
    ('record_display', 'false', 'Whether image_display is recorded, too.', YES_NO),
    ('record_also', '', 'Other topics to record, full names with blanks between them.', None),
    ('storage_config', '', 'A file with settings of the storage of rosbag2.', None),
    ('split_minutes', '0.0', 'Begin a new file of the bag after so long; 0: never.', None),
    ('duration_minutes', '0.0', 'End the recording after so long; 0: never.', None),
    ('respawn', '', 'Whether a node that was killed, or hung, is started again and made active; '
     'not given: true with record.', ['', *YES_NO]),
    ('required', '', 'Whether the end of this scope ends the whole launch; not given: true if '
     'it is the only scope of it.', ['', *YES_NO]),
    ('viewer', 'none', 'What to look with.', ['none', 'rqt', 'rviz']),
    ('panel', 'false', 'Whether to serve the page in the browser, at http://127.0.0.1:8642/.',
     ['true', 'false']),
    ('log_level', 'info', 'What the node logs.', ['debug', 'info', 'warn', 'error', 'fatal']),
]
# Arguments that are parameters of the node: name of the parameter and how to read a value.
PARAMETERS = {
    'source': ('source', str), 'device': ('device', str), 'device_type': ('device_type', str),
    'frame_rate': ('frame_rate', float), 'led': ('led', float), 'max_led': ('max_led', float),
    'gain': ('gain', float), 'focus': ('focus', int), 'display_mode': ('display.mode', str),
    'replay_path': ('replay.path', expanduser)}
TOKEN = re.compile(r'[A-Za-z_][A-Za-z0-9_]*')


def generate_launch_description():
    """Return the arguments, the DDS profile, and what the arguments ask for."""
    arguments = [
        DeclareLaunchArgument(name, default_value=default, description=text, choices=choices)
        for name, default, text, choices in ARGUMENTS]
    profile = [] if profile_variable() in os.environ else [
        SetEnvironmentVariable(profile_variable(), str(CONFIG / 'fastdds.xml'))]
    return LaunchDescription([*arguments, *profile, OpaqueFunction(function=start)])


def start(context):
    """Return the programs to run."""
    ignore_keyboard_interrupts()
    asked = dict(context.launch_configurations)
    scope = full_name(asked)
    files, given = parameters(asked)
    scopes = getattr(context.locals, SCOPES, [])
    scopes.append(scope)
    context.extend_globals({SCOPES: scopes})
    warnings = [*misspelt(asked), *useless(files[1:], scope)]
    run = ScopeRun(asked, scope, files, given, scopes)
    actions = [*(LogInfo(msg=f'warning: {text}') for text in warnings), run.node()]
    if asked['record']:
        actions.append(recorder(asked, scope, run))
    return [*actions, *viewer(asked['viewer'], f'{scope}/image_display'), *panel(asked['panel'])]


def ignore_keyboard_interrupts():
    """
    Let no Ctrl-C become a KeyboardInterrupt in the middle of what launch or we do at that moment.

    It would end the wait for a scope that is being made dark. Launch learns of signals through a
    descriptor, which gets them all the same.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: None)


def full_name(asked):
    """Return the node's full name, below the namespaces that were pushed around this file."""
    name, namespace = asked['name'], asked['namespace']
    for argument, value in (('name', name), *(
            ('namespace', part) for part in namespace.strip('/').split('/') if part)):
        if not TOKEN.fullmatch(value):
            raise RuntimeError(
                f'{argument}:={value} cannot be used: it has to be made of the letters A to Z and '
                'a to z, digits and _, and must not begin with a digit')
    above = prefix_namespace(asked.get('ros_namespace'), namespace) or ''
    return '/' + '/'.join([*filter(None, above.split('/')), name])


def parameters(asked):
    """Return the parameter files and, stronger than these, the parameters given as arguments."""
    given = {}
    for argument, (name, read) in PARAMETERS.items():
        if asked[argument]:
            try:
                given[name] = read(asked[argument])
            except ValueError:
                kind = 'a whole number' if read is int else 'a number'
                raise RuntimeError(f'{argument}:={asked[argument]} is not {kind}') from None
    if asked['viewer'] == 'rviz':
        given['publish_tf'] = True  # else the layout's world is empty
    if asked['record']:
        # Who records activates, as soon as the recorder listens.
        given['auto_start'] = False
    files = [str(CONFIG / 'scope.yaml')]
    if asked['params_file']:
        files.append(expanduser(asked['params_file']))
    return files, given


# What is asked for and would have no effect

def misspelt(asked):
    """Return a warning for each argument that looks as if one of ours was meant."""
    ours = [name for name, *_ in ARGUMENTS]
    # Of a launch file that includes this one the others may be its own.
    alone = any(part.endswith('scope.launch.py') for part in sys.argv)
    on_command_line = {part.partition(':=')[0] for part in sys.argv if ':=' in part}
    for name in sorted(set(asked) - set(ours)):
        close = get_close_matches(name, ours, n=1)
        if close and name in on_command_line or (alone and name in on_command_line):
            hint = f'; {close[0]} was meant?' if close else ''
            yield f'there is no argument {name}, so {name}:={asked[name]} has no effect{hint}'


def useless(files, scope):
    """Return a warning for each parameter file that has nothing for the node."""
    for file in files:
        names = sections(file)
        if not any(matches(name, scope) for name in names):
            yield (f'{file} has parameters for {", ".join(sorted(names)) or "no node"}, but this '
                   f'node is {scope}: nothing of the file is used')


def sections(file):
    """Return the full names of nodes, wildcards among them, that a parameter file is for."""
    try:
        content = yaml.safe_load(Path(file).read_text(encoding='utf-8'))
        return list(names_below('', content))
    except OSError as error:
        raise RuntimeError(f'{file} cannot be read: {error.strerror}') from None
    except Exception as error:
        raise RuntimeError(
            f'{file} is not a YAML file with NODE: ros__parameters: ..: '
            f'{" ".join(str(error).split())}') from None


def names_below(above, content):
    """Return the nodes in a part of a parameter file; namespaces may be nested."""
    for name, inner in content.items():
        full = f'{above}/{name.strip("/")}'
        if 'ros__parameters' in inner:
            yield full
        else:
            yield from names_below(full, inner)


def matches(pattern, scope):
    """Return whether a section is for a node: * stands for one name, ** for any number."""
    parts, wanted = pattern.strip('/').split('/'), scope.strip('/').split('/')
    return matches_parts(parts, wanted)


def matches_parts(parts, wanted):
    """Compare names one by one."""
    if not parts:
        return not wanted
    if parts[0] == '**':
        return any(matches_parts(parts[1:], wanted[n:]) for n in range(len(wanted) + 1))
    return bool(wanted) and fnmatchcase(wanted[0], parts[0]) and matches_parts(
        parts[1:], wanted[1:])


# The programs, and what happens when they end

class ScopeRun:
    """One scope node: how it is started, and what is done when it has ended."""

    def __init__(self, asked, scope, files, given, scopes):
        self._asked = asked
        self._scope = scope
        self._files = files
        self._given = given
        self._scopes = scopes  # grows while the launch is being described
        self.respawn = asked['respawn'] == 'true' or (
            not asked['respawn'] and bool(asked['record']))
        self._started = 0.0
        self._early = 0  # deaths soon after the start, in a row

    @property
    def required(self):
        """Whether the end of this scope ends the launch."""
        return self._asked['required'] == 'true' or (
            not self._asked['required'] and len(self._scopes) == 1)

    def node(self):
        """Return the action that starts the node."""
        self._started = time.monotonic()
        return Node(
            package=PACKAGE, executable='scope_node', name=self._asked['name'],
            namespace=self._asked['namespace'], exec_name='scope_node', prefix=PREFIX,
            output='screen', emulate_tty=True, on_exit=self._after,
            # Without a type a device of digits would become a number.
            parameters=[*self._files, {
                name: value if isinstance(value, list) else ParameterValue(
                    value, value_type=type(value))
                for name, value in self._given.items()}],
            ros_arguments=['--log-level', f'{self._scope[1:].replace("/", ".")}:='
                           f'{self._asked["log_level"]}'])

    def _after(self, event, context):
        code = event.returncode
        left = take_left_values(event.pid)
        note = note_of_process(event.pid)
        if note is not None:
            # The launch waits for it, in whatever way that is to end.
            context.add_completion_future(
                context.asyncio_loop.create_task(lights_off(event.pid, note.usb_port)))
        if code == 0:
            return Shutdown(reason='scope_node has ended') if self.required else []
        if self._is_to_return(code) and not context.is_shutdown:
            # Who recorded it does not activate it a second time.
            self._given |= left  # what the user has set since
            self._given.pop('auto_start', None)
            log(f'{self._scope} has ended, exit code {code}: it is started again')
            return self.node()
        if self.required:
            # Only an exception gives ros2 launch an exit code that is not 0.
            raise RuntimeError(f'scope_node has failed, exit code {code}')
        log(f'{self._scope} has failed, exit code {code}')
        return []

    def _is_to_return(self, code):
        """Return whether the node is to be started again; one that refused to run is not."""
        early = time.monotonic() < self._started + SOON
        self._early = self._early + 1 if early else 0
        return self.respawn and self._early < RESTARTS and (code < 0 or code == STALLED_STATUS)


def log(text):
    """Say an error."""
    launch.logging.get_logger('scope.launch.py').error(text)


async def lights_off(pid, usb_port):
    """Make dark what a node has left, or see that the watcher has done it."""
    # In a session of its own no Ctrl-C reaches it. No action of launch: these are not started
    # while it ends.
    status = -signal.SIGINT
    while status == -signal.SIGINT:  # one reached it before it had that session
        process = await asyncio.create_subprocess_exec(
            str(PROGRAMS / 'lights_off'), '--after', str(pid), '--usb-port', usb_port,
            stdin=asyncio.subprocess.DEVNULL, start_new_session=True)
        status = await process.wait()


def recorder(asked, scope, run):
    """Return the action that records a scope."""

    def after(event, _):
        """Do not let the scope run on unrecorded."""
        if event.returncode != 0:
            raise RuntimeError('the recording has failed, see above')
        return Shutdown(reason='the recorder has ended') if run.required else []

    options = ['--display'] if asked['record_display'] == 'true' else []
    if run.respawn:
        options.append('--respawn')
    if asked['storage_config']:
        options += ['--storage-config', expanduser(asked['storage_config'])]
    for name in 'split_minutes', 'duration_minutes':
        options += [f'--{name.replace("_", "-")}', asked[name]]
    if asked['record_also']:
        options += ['--also', *asked['record_also'].split()]
    return ExecuteProcess(
        cmd=[str(PROGRAMS / 'record_scope'), scope, expanduser(asked['record']), *options],
        name='record_scope', prefix=PREFIX, output='screen',
        sigterm_timeout=RECORDER_PATIENCE, on_exit=after)


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
