# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What the middleware needs before it starts, and the end of a program in which it hangs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
import faulthandler
import os
from pathlib import Path
import re
import stat
import subprocess
import time

_OLD_DISTRIBUTIONS = ('humble', 'iron', 'jazzy')  # Fast DDS 2; later ones have Fast DDS 3
_START_S = 10.0
_SHARED_MEMORY = Path('/dev/shm')
_PORT = re.compile(r'fast(?:rtps|dds)_port(\d+)')
_FIRST_PORT, _PORTS_OF_DOMAIN = 7400, 250  # lower numbers are for the programs of all domains
_HALF_MADE_S = 2.0  # a port that has had no bytes for so long will not get any: that takes 1 ms
_PLACES_IN_ROS = re.compile(r', at \S+\.c(pp)?:\d+')
_CURE = (
    'the middleware has not started within {:g} s. A program that was killed may have left a '
    'broken file to Fast DDS: end all ROS programs of this computer, delete '
    '/dev/shm/fast* and /dev/shm/sem.fast*, and start again')


def profile_variable() -> str:
    """
    Return the name of the variable that names Fast DDS's file of profiles.

    Fast DDS 2 reads the one, Fast DDS 3 the other and warns of the first.
    """
    distribution = os.environ.get('ROS_DISTRO')
    # Wheels of ROS 2 name no distribution; Fast DDS has had this name since 3.
    old = distribution in _OLD_DISTRIBUTIONS if distribution else not any(
        (prefix / 'share' / 'fastdds').is_dir() for prefix in _prefixes())
    return 'FASTRTPS_DEFAULT_PROFILES_FILE' if old else 'FASTDDS_DEFAULT_PROFILES_FILE'


def load_profile() -> None:
    """Let large images through where the user has set no profile; call it before rclpy.init."""
    variable = profile_variable()
    file = _profile()
    if variable not in os.environ and file is not None:
        os.environ[variable] = str(file)


def _profile() -> Path | None:
    """Return the package's file of profiles, of the checkout or of the installation."""
    places = [Path(__file__).parents[2]]
    places += [prefix / 'share' / 'miniscope_ros' for prefix in _prefixes()]
    files = (place / 'config' / 'fastdds.xml' for place in places)
    return next((file for file in files if file.is_file()), None)


def _prefixes() -> list[Path]:
    return [Path(prefix)
            for prefix in os.environ.get('AMENT_PREFIX_PATH', '').split(os.pathsep) if prefix]


def why_refused(error: Exception) -> str:
    """Return in one line why ROS does not start, without the names of its own source files."""
    return _PLACES_IN_ROS.sub('', ' '.join(str(error).split()))


def remove_half_made_ports() -> None:
    """
    Remove the ports of Fast DDS that a program had only begun to make when it was killed.

    Whoever gets the number of such a port would wait for it for ever. A node that takes the place
    of one that hung for it may be the first to get that number.
    """
    with suppress(OSError):
        for file in _SHARED_MEMORY.iterdir():
            port = _PORT.fullmatch(file.name)
            if port is None or not _may_be_ours(int(port[1])):
                continue
            with suppress(OSError):  # another user's, or somebody else was quicker
                found = file.lstat()
                old = time.time() > found.st_mtime + _HALF_MADE_S
                if stat.S_ISREG(found.st_mode) and found.st_size == 0 and old:
                    file.unlink()


def _may_be_ours(port: int) -> bool:
    domain = os.environ.get('ROS_DOMAIN_ID') or '0'
    first = _FIRST_PORT + _PORTS_OF_DOMAIN * int(domain) if domain.isdecimal() else 0
    return port < _FIRST_PORT or first <= port < first + _PORTS_OF_DOMAIN


@contextmanager
def must_start(program: str, patience_s: float = _START_S) -> Iterator[None]:
    """
    End the program with a line and status 1 if what is done meanwhile takes too long.

    Fast DDS waits for ever for a file in shared memory that another program has begun to make,
    with the interpreter's lock held. Only a timer of faulthandler's own, a thread that needs no
    such lock, ends the program then; what it writes makes a shell say why. Files that were begun
    some time ago are removed before.
    """
    remove_half_made_ports()
    read, write = os.pipe()
    text = f'{program}: {_CURE.format(patience_s)}'
    with subprocess.Popen(
            ['/bin/sh', '-c', 'read -r line && echo "$0" >&2', text], stdin=read,
            stdout=subprocess.DEVNULL) as shell:
        os.close(read)
        faulthandler.dump_traceback_later(patience_s, exit=True, file=write)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()
            os.close(write)
            shell.wait()
