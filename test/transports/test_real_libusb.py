# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The transfers of transport usb through the real libusb, on a device that umockdev plays."""
import os
from pathlib import Path
import shutil
import subprocess
import sys

import pytest
from virtual_daq.build import library_path
from virtual_daq.descriptors import device_descriptors

PAYLOADS = (16380, 16380, 16380, 5012)  # bytes of the transfers of one frame
FRAMES = 6
NODE = '/dev/bus/usb/001/002'
SCRIPT = f"""
import numpy as np, usb1
from miniscope_ros.transports.usb_transfers import BulkTransfers
with usb1.USBContext() as context:
    assert 'virtual' not in str(usb1.getVersion())
    device, = (one for one in context.getDeviceIterator(skip_on_error=True)
               if one.getVendorID() == 0x04B4)
    handle = device.open()
    handle.claimInterface(1)
    memory = np.zeros((3, 16384), np.uint8)
    transfers = BulkTransfers(handle, 3, memory)
    for number in range({FRAMES * len(PAYLOADS)}):
        row = number % 3
        assert transfers.take(row) is None
        transfers.submit(row)
        while (taken := transfers.take(row)) is None:
            context.handleEventsTimeout(1.0)
        assert taken == (usb1.TRANSFER_COMPLETED, {PAYLOADS}[number % 4]), taken
        assert set(memory[row, 12:taken[1]].tolist()) == {{number}}
        assert not transfers.pending() and transfers.take(row) is None
    transfers.close()
    handle.close()
print('all came')
"""


def write_device(path: Path) -> None:
    """Describe the box as umockdev wants it."""
    descriptors = device_descriptors().hex().upper()
    attributes = {'busnum': '1', 'devnum': '2', 'devpath': '1', 'speed': '5000',
                  'bConfigurationValue': '1', 'idVendor': '04b4', 'idProduct': '00f9'}
    path.write_text('\n'.join([
        'P: /devices/pci0000:00/0000:00:14.0/usb1/1-1', f'N: {NODE[5:]}={descriptors}',
        f'E: DEVNAME={NODE}', 'E: DEVTYPE=usb_device', 'E: SUBSYSTEM=usb', 'E: BUSNUM=001',
        'E: DEVNUM=002', *(f'A: {name}={value}\\n' for name, value in attributes.items()),
        f'H: descriptors={descriptors}', '']))


def write_transfers(path: Path) -> None:
    """Write what the device answers: each payload filled with its number."""
    lines = [f'@DEV {NODE}']
    for number in range(FRAMES * len(PAYLOADS)):
        size = PAYLOADS[number % 4]
        content = bytes((12, 0x8C, *bytes(10))) + bytes((number,)) * (size - 12)
        # Returned, then kind and endpoint, status, flags, lengths asked for and received, errors.
        lines.append(f'USBDEVFS_REAPURBNDELAY 0 3 131 0 0 16384 {size} 0 {content.hex().upper()}')
    path.write_text('\n'.join([*lines, '']))


def without_virtual_boxes() -> dict[str, str]:
    """Return an environment in which libusb is the real one."""
    ours = str(library_path().parent)
    folders = [one for one in os.environ.get('LD_LIBRARY_PATH', '').split(':') if one != ours]
    return {name: value for name, value in os.environ.items()
            if name not in ('LD_PRELOAD', 'VIRTUAL_DAQ_ROOT')
            } | {'LD_LIBRARY_PATH': ':'.join(folders)}


def test_a_transfer_is_done_when_libusb_has_written_its_status(tmp_path: Path) -> None:
    if shutil.which('umockdev-run') is None:
        pytest.skip('apt install umockdev')
    device, transfers = tmp_path / 'box.umockdev', tmp_path / 'box.ioctl'
    write_device(device)
    write_transfers(transfers)
    done = subprocess.run(
        ['umockdev-run', '--device', device, '--ioctl', f'{NODE}={transfers}', '--',
         sys.executable, '-c', SCRIPT],
        env=without_virtual_boxes(), text=True, capture_output=True, timeout=120)
    assert done.returncode == 0 and done.stdout == 'all came\n', done.stdout + done.stderr
