# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Installation of the ament_python package."""
from glob import glob

from setuptools import find_packages, setup

NAME = 'miniscope_ros'

setup(
    name=NAME,
    version='0.1.0',
    description='ROS 2 driver for UCLA Miniscopes',
    author='miniscope_ros contributors',
    maintainer='miniscope_ros contributors',
    maintainer_email='maintainers@example.org',
    license='BSD-3-Clause',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed', 'daq/*.yaml', 'panel/page/*']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (f'share/{NAME}', ['package.xml', 'LICENSE']),
        (f'share/{NAME}/config', glob('config/*')),
        (f'share/{NAME}/launch', glob('launch/*.launch.py')),
        # For reading recordings where miniscope_msgs is not installed.
        (f'share/{NAME}/msg', glob('miniscope_msgs/msg/*.msg')),
    ],
    install_requires=['setuptools'],
    # What has no rosdep key, by what it is for; package.xml has the rest.
    extras_require={
        'align': ['h5py', 'neo>=0.14'],
        'export': ['apsw', "backports.zstd; python_version < '3.14'", 'lz4', 'rosbags>=0.11'],
        'nwb': ['h5py', 'ndx-miniscope', 'pynwb'],
        'record': ['mcap'],
        'syntalos': ['av', 'edlio'],
        'test': ['pytest'],
        'usb': ['libusb1'],
    },
    zip_safe=True,
    entry_points={'console_scripts': [
        f'scope_node = {NAME}.node.main:main',
        f'list_devices = {NAME}.commands.list_devices:main',
        f'check_scope = {NAME}.commands.check_scope:main',
        f'lights_off = {NAME}.commands.lights_off:main',
        f'ground_truth = {NAME}.commands.ground_truth:main',
        f'export_bag = {NAME}.commands.export_bag:main',
        f'panel = {NAME}.commands.panel:main',
        f'session_node = {NAME}.commands.session_node:main',
        f'record_scope = {NAME}.commands.record_scope:main',
    ]},
)
