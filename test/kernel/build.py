# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Building a User-Mode Linux kernel from Debian's source package, once per version."""
from __future__ import annotations

import os
from pathlib import Path
import shutil
import subprocess
import sys

TOOLS = {
    'flex': 'flex', 'bison': 'bison', 'bc': 'bc', 'gcc': 'gcc', 'make': 'make', 'tar': 'tar',
    'xz': 'xz-utils'}
"""Programs that the build needs, and the packages that have them."""

ON = (
    'UML_TIME_TRAVEL_SUPPORT', 'UML_PCI_OVER_VIRTIO', 'VIRTIO_UML', 'HOSTFS', 'USB_SUPPORT', 'USB',
    'USBIP_CORE', 'USBIP_VHCI_HCD', 'MEDIA_SUPPORT', 'MEDIA_CAMERA_SUPPORT', 'MEDIA_USB_SUPPORT',
    'MEDIA_CONTROLLER', 'VIDEO_DEV', 'USB_VIDEO_CLASS', 'TMPFS', 'TMPFS_XATTR', 'DEVTMPFS',
    'OVERLAY_FS', 'UNIX', 'INET', 'IP_MULTICAST', 'SYSVIPC', 'HIGH_RES_TIMERS', 'EPOLL', 'EVENTFD',
    'SIGNALFD', 'TIMERFD', 'AIO', 'FUTEX', 'CGROUPS', 'FW_LOADER', 'USB_ANNOUNCE_NEW_DEVICES',
    'DEBUG_INFO_NONE')
"""
What is switched on over the defaults. The two with virtio give a User-Mode Linux the I/O memory
that USB depends on.
"""
OFF = (
    'MEDIA_SUPPORT_FILTER', 'MEDIA_SUBDRV_AUTOSELECT', 'SOUND', 'DRM', 'FB', 'WLAN', 'ETHERNET',
    'HID', 'SCSI', 'ATA', 'IPV6', 'EXT4_FS', 'BTRFS_FS')
NEEDED = ('USBIP_VHCI_HCD', 'USB_VIDEO_CLASS', 'UML_TIME_TRAVEL_SUPPORT', 'HOSTFS')


class Missing(Exception):
    """Something that has to be installed first; the text says how."""


def cache() -> Path:
    """Return where built kernels are kept."""
    home = os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache'
    return Path(home) / 'miniscope_ros' / 'kernel'


def sources() -> dict[str, Path]:
    """Return the source packages that are installed, by version."""
    return {
        path.name.removeprefix('linux-source-').removesuffix('.tar.xz'): path
        for path in sorted(Path('/usr/src').glob('linux-source-*.tar.xz'))}


def kernels() -> dict[str, Path]:
    """Return the kernels that can be booted, by version; builds those that are not yet."""
    for version, source in sources().items():
        if not kernel(version).exists():
            build(version, source)
    built = {path.parent.name: path for path in sorted(cache().glob('*/linux'))}
    if not built:
        raise Missing('no kernel source: apt install linux-source-6.1 (or linux-source)')
    return built


def kernel(version: str) -> Path:
    """Return where the kernel of a version is, or will be."""
    return cache() / version / 'linux'


def build(version: str, source: Path) -> None:
    """Build a kernel, which takes about ten minutes."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    if not Path('/usr/include/libelf.h').exists():
        missing.append('libelf-dev')
    if missing:
        raise Missing(f'to build a kernel: apt install {" ".join(missing)}')
    folder = cache() / version
    folder.mkdir(parents=True, exist_ok=True)
    print(f'building Linux {version} in {folder}', file=sys.stderr)
    subprocess.run(['tar', 'xf', source, '--strip-components=1', '-C', folder], check=True)
    make = ['make', 'ARCH=um', f'-j{os.cpu_count()}']
    with (folder / 'build.log').open('w') as log:
        def call(*command: str) -> None:
            subprocess.run(command, cwd=folder, check=True, stdout=log, stderr=log)

        call(*make, 'defconfig')
        switches = [word for name in ON for word in ('--enable', name)]
        switches += [word for name in OFF for word in ('--disable', name)]
        call('scripts/config', *switches)
        call(*make, 'olddefconfig')
        options = (folder / '.config').read_text().splitlines()
        for name in NEEDED:
            if f'CONFIG_{name}=y' not in options:
                raise SystemExit(f'Linux {version} could not be configured with {name}')
        call(*make, 'linux')
    _drop_objects(folder)


def _drop_objects(folder: Path) -> None:
    """Keep the kernel itself (10 MB) and what says how it was made, of 2 GB."""
    for path in folder.iterdir():
        if path.name in ('linux', '.config', 'build.log'):
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
