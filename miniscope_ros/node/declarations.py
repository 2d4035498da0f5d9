# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Which parameters a scope node has: the source and the device type decide."""

from __future__ import annotations

from miniscope_ros.daq.catalogue import DeviceType, load_catalogue
from miniscope_ros.errors import ConfigurationError
from miniscope_ros.node.parameter_specs import (
    common_specs,
    DEVICE_CATALOG,
    device_type_spec,
    elsewhere,
    has_device_type,
    RULES,
    SOURCE,
    source_specs,
)
from miniscope_ros.node.parameters import Parameters
from rclpy.node import Node


def declare_parameters(node: Node, settings: Parameters) -> DeviceType | None:
    """
    Declare all parameters of a node, and return the device type; None if its source has none.

    ConfigurationError for a value that was given at start and is no good.
    """
    settings.declare([SOURCE, DEVICE_CATALOG])
    source = settings['source']
    catalogue = load_catalogue(settings['device_catalog'] or None)
    settings.declare([device_type_spec(tuple(catalogue))])
    prefix = f'{node.get_namespace()}/{node.get_name()}'.strip('/').replace('/', '_')
    settings.declare(common_specs(prefix))
    device_type = catalogue[settings['device_type']]
    settings.declare(source_specs(source, device_type))
    settings.finish(RULES, lambda name: elsewhere(name, source, catalogue))
    follow = node.get_parameter('use_sim_time').value
    if not isinstance(follow, bool):
        raise ConfigurationError(f'use_sim_time cannot be {follow!r}: it is true or false')
    return device_type if has_device_type(source) else None
