# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
Make what is missing: the environment in .env and the built workspace.

Usage: bootstrap.py run|test. It needs a Python 3 and its standard library. When nothing has
changed it starts neither pip nor colcon. The variable DISTRO names the ROS 2 to install where
none is sourced: jazzy (the default) or kilted.
"""
import fcntl
import hashlib
import importlib.util
import os
from pathlib import Path
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile

ROOT = Path(__file__).resolve().parent.parent
TOOLS = ROOT / 'tools'
ENV = ROOT / '.env'
HAS_ROS = 'ROS_DISTRO' in os.environ
DISTRO = os.environ.get('DISTRO') or 'jazzy'
# How the packages of ros.txt, which names Jazzy's, are called elsewhere; None: there is none.
OTHER_NAMES = {
    'jazzy': {},
    'kilted': {
        'domain-coordinator': 'ros-domain-coordinator', 'fastrtps-cmake-module': None,
        'python-cmake-module': None},
}
# What is needed besides, but the wheels do not name.
MORE = {'jazzy': (), 'kilted': ('ros-kilted-ament-cmake-ros-core',)}
PROBE = 'lark'  # a small package, to see whether packages can be had at all
PROBE_S = 5.0
LOG_END = 4000  # characters of a failed build that are shown
BUILT_FROM = ('miniscope_ros', 'miniscope_msgs', 'launch', 'config', 'resource', 'package.xml',
              'setup.py', 'setup.cfg', 'colcon_defaults.yaml')


def check_machine():
    """End with a line for each missing tool that holds the command which installs it."""
    version = '{}.{}'.format(*sys.version_info)
    if DISTRO not in OTHER_NAMES:
        sys.exit(f'DISTRO={DISTRO}: there are wheels of {" and ".join(OTHER_NAMES)} only. Source '
                 'any other ROS 2 instead')
    if not HAS_ROS and not (3, 10) <= sys.version_info < (3, 14):
        sys.exit(f'python3 is Python {version}; the ROS 2 wheels exist for 3.10 to 3.13. '
                 'Name one of these, for example\n    make run PYTHON=python3.12')
    missing = [tool for tool in ('g++', 'cmake', 'make') if shutil.which(tool) is None]
    if not Path(sysconfig.get_paths()['include'], 'Python.h').exists():
        missing.append(f'python{version}-dev')
    if importlib.util.find_spec('ensurepip') is None:
        missing.append(f'python{version}-venv')
    if HAS_ROS and shutil.which('colcon') is None:
        missing.append('python3-colcon-common-extensions')
    if HAS_ROS and importlib.util.find_spec('aiohttp') is None:
        missing.append('python3-aiohttp')
    if missing:
        sys.exit('\n'.join(f'missing: sudo apt install {name}' for name in missing))


def digest(*parts):
    """Return a hash of strings and of the contents of files."""
    total = hashlib.sha256()
    for part in parts:
        total.update(part.read_bytes() if isinstance(part, Path) else part.encode())
        total.update(b'\0')
    return total.hexdigest()


def read(stamp):
    """Return a stamp's lines; none if what it stands for was never finished."""
    return stamp.read_text().splitlines() if stamp.exists() else []


def call(*command):
    """Run a command in the checkout; where it fails, end."""
    status = subprocess.call([str(word) for word in command], cwd=str(ROOT))
    if status:
        sys.exit('failed with status {}: {}'.format(status, ' '.join(map(str, command))))


def check_index(pip, for_tests):
    """End within seconds where packages cannot be had; name the way without a network."""
    folder = tempfile.mkdtemp()
    command = [*pip, 'download', '-qq', '--no-deps', '--no-cache-dir', '--timeout', '3',
               '--retries', '0', '-d', folder, PROBE]
    try:
        probe = subprocess.run(
            [str(word) for word in command], timeout=PROBE_S, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True)
    except subprocess.TimeoutExpired:
        print(f'No answer of the package index within {PROBE_S:.0f} s; it is tried on. '
              f'{offline(for_tests)}', flush=True)
    else:
        if probe.returncode:
            reason = probe.stderr.strip().splitlines()[-1:] or ['']
            sys.exit(f'pip failed with status {probe.returncode}: packages cannot be had from '
                     f'the network. {reason[0]}\n{offline(for_tests)}')
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def offline(for_tests):
    """Return how to install without a network."""
    names = ('ros', 'test') if for_tests else ('ros',)
    lists = ' '.join(f'-r tools/{name}.txt' for name in names)
    target = 'test' if for_tests else 'run'
    return (
        'Without a network: on another computer with Python {}.{} and this checkout\n'
        '    python3 -m pip download -d wheels -c tools/constraints.txt {}\n'
        'then bring the folder wheels here, and call\n'
        '    PIP_NO_INDEX=1 PIP_FIND_LINKS=/path/of/wheels make {}'
    ).format(*sys.version_info[:2], lists, target)


def install(pip, *arguments):
    """Install packages and show how far it is: how many were fetched, and their sizes."""
    command = [*pip, 'install', '--progress-bar', 'off', *arguments]
    process = subprocess.Popen(
        [str(word) for word in command], cwd=str(ROOT), stdout=subprocess.PIPE, text=True)
    is_terminal = sys.stdout.isatty()
    count, total = 0, 0.0
    for line in process.stdout:
        found = re.search(r'(?:Downloading|Using cached) (\S+) \(([\d.]+) ([kMG]?B)\)', line)
        if found and not found.group(1).endswith('.metadata'):
            count += 1
            total += float(found.group(2)) * {'B': 1e-6, 'kB': 1e-3, 'MB': 1.0, 'GB': 1e3}[
                found.group(3)]
            package = found.group(1).rsplit('/', 1)[-1].split('-')[0]
            show(f'  {count} packages, {total:.0f} MB fetched, now {package}', is_terminal,
                 count % 25 == 0)
        elif line.startswith('Installing collected'):
            show(f'  {count} packages, {total:.0f} MB fetched; unpacking', is_terminal, True)
    if is_terminal:
        print()
    status = process.wait()
    if status:
        sys.exit('failed with status {}: {}'.format(status, ' '.join(map(str, command))))


def show(text, is_terminal, is_due):
    """Rewrite a line on a terminal; elsewhere print it only where it is due."""
    if is_terminal:
        width = shutil.get_terminal_size().columns - 1
        sys.stdout.write(f'\r\x1b[K{text[:width]}')
        sys.stdout.flush()
    elif is_due:
        print(text, flush=True)


def mend_wheels(site):
    """Replace the folders of the wheels' builder by this environment's."""
    for file in (ENV / 'share').rglob('*.cmake'):
        text = file.read_text()
        mended = re.sub(r'/opt/python/cp\d+-cp\d+/include/python3\.\d+',
                        lambda _: sysconfig.get_paths()['include'], text)
        mended = re.sub(r'/opt/python/cp\d+-cp\d+/lib/python3\.\d+/site-packages',
                        lambda _: str(site), mended)
        if mended != text:
            file.write_text(mended)
    (ENV / 'local_setup.bash').touch()  # colcon warns of a prefix without one


def ros_packages():
    """Return the packages of ros.txt as this distribution names them."""
    found = list(MORE[DISTRO])
    for line in (TOOLS / 'ros.txt').read_text().splitlines():
        name = line.split('#')[0].strip()
        ros = re.fullmatch(r'ros-jazzy-(\S+)', name)
        if ros:
            name = OTHER_NAMES[DISTRO].get(ros.group(1), f'ros-{DISTRO}-{ros.group(1)}')
        if name:
            found.append(name)
    return found


def pins_of(distribution):
    """Return the file of pins; those of ROS packages are Jazzy's."""
    pins = TOOLS / 'constraints.txt'
    if distribution == 'jazzy':
        return pins
    others = ENV / 'constraints.txt'
    others.write_text(''.join(
        line for line in pins.read_text().splitlines(True) if not line.startswith('ros-')))
    return others


def numpy_of_ros():
    """Return the version of numpy that the packages of the sourced ROS 2 were built for."""
    try:
        import numpy
        import rclpy  # noqa: F401
    except ImportError as error:
        sys.exit(f'{sys.executable} does not run the sourced ROS 2 ({error}). Name the Python '
                 'that does:\n    make run PYTHON=/usr/bin/python3')
    return numpy.__version__


def make_environment(for_tests):
    """
    Install the pinned packages into .env; one whose making was interrupted is made anew.

    Where a ROS 2 is sourced, .env sees its packages and adds only the test tools.
    """
    pins = TOOLS / 'constraints.txt'
    base = 'run ' + digest(str(ROOT), sys.version, os.environ.get('ROS_DISTRO', DISTRO), pins,
                           *ros_packages())
    tests = 'test ' + digest(TOOLS / 'test.txt')
    wanted = [base, tests] if for_tests else [base]
    stamp = ENV / 'complete'
    done = read(stamp)
    if wanted == done[:len(wanted)]:
        return
    if HAS_ROS:
        numpy = numpy_of_ros()
    elif base not in done:
        print(f'Installing ROS 2 {DISTRO.capitalize()} into .env (once; 0.6 GB on the disk, '
              'minutes).', flush=True)
    if for_tests:
        print('Installing the test tools into .env (once).', flush=True)
    if not done:
        shutil.rmtree(str(ENV), ignore_errors=True)  # it was never finished
    needs_index = for_tests or not HAS_ROS
    if needs_index and importlib.util.find_spec('pip') is not None:
        check_index([sys.executable, '-m', 'pip', '--disable-pip-version-check'], for_tests)
        needs_index = False
    if base in done:
        stamp.unlink()
    else:
        shutil.rmtree(str(ENV), ignore_errors=True)
        call(sys.executable, '-m', 'venv', *(['--system-site-packages'] if HAS_ROS else []), ENV)
    pip = [ENV / 'bin' / 'python3', '-m', 'pip', '--disable-pip-version-check']
    if needs_index:  # this Python had no pip of its own to ask before
        check_index(pip, for_tests)
    if HAS_ROS and for_tests:
        install(pip, f'numpy=={numpy}', '-r', TOOLS / 'test.txt')
    elif not HAS_ROS:
        install(pip, '-c', pins_of(DISTRO), *ros_packages(),
                *(['-r', TOOLS / 'test.txt'] if for_tests else []))
        mend_wheels(ENV / 'lib' / 'python{}.{}'.format(*sys.version_info) / 'site-packages')
    stamp.write_text('\n'.join(wanted))


def build_workspace():
    """Build both packages if a file of theirs has changed since the last build."""
    files = sorted(file for name in BUILT_FROM
                   for file in [ROOT / name, *(ROOT / name).rglob('*')]
                   if file.is_file() and file.suffix != '.pyc')
    environment = digest(str(ROOT), os.environ.get('ROS_DISTRO', ''),
                         *(read(ENV / 'complete')[:1] if not HAS_ROS else []))
    sources = digest(*(f'{file} {file.stat().st_mtime_ns}' for file in files))
    stamp = ROOT / 'install' / 'complete'
    done = read(stamp)
    if [environment, sources] == done:
        return
    print('Building the workspace.', flush=True)
    if environment not in done:
        for folder in ('build', 'install', 'log'):
            shutil.rmtree(str(ROOT / folder), ignore_errors=True)
    build = [*([] if HAS_ROS else [TOOLS / 'env']), 'colcon', 'build']
    if subprocess.call([str(word) for word in build], cwd=str(ROOT)):
        for log in sorted((ROOT / 'log' / 'latest_build').glob('*/stdout_stderr.log')):
            print(f'--- {log.parent.name}:\n{log.read_text()[-LOG_END:]}', file=sys.stderr)
        sys.exit('the workspace could not be built; its output is above')
    stamp.write_text('\n'.join([environment, sources]))


def main():
    """Make both, one process at a time."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C needs no traceback
    for_tests = sys.argv[1] == 'test'
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        check_machine()
        make_environment(for_tests)
        build_workspace()


if __name__ == '__main__':
    main()
