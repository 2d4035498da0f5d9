# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The errors a user can meet. Each text names the offending value and the remedy."""


class MiniscopeError(Exception):
    """Base of all errors of this package."""


class ConfigurationError(MiniscopeError):
    """A wrong setting: an unknown type, a value out of range. Trying again does not help."""


class DeviceError(MiniscopeError):
    """A fault outside of the program: no box, a busy box, an unreadable file. It may be cured."""


class DeviceAbsent(DeviceError):
    """No such device is there; it may come back."""


class DeviceLost(DeviceError):
    """The device was there and is gone, or sends nothing any more."""


class StreamBroken(DeviceLost):
    """The device is there, but its stream must be opened again."""


class NoLink(DeviceError):
    """The device opens but sends nothing: the scope is not connected, or the box is frozen."""


class EndOfData(MiniscopeError):
    """A recording has been played to its end."""


class Interrupted(MiniscopeError):
    """The program is to end; what was being waited for is given up."""
