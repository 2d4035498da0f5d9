# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""V4L2 control ids that the DAQ box gives a meaning of its own (linux/v4l2-controls.h)."""

BRIGHTNESS = 0x00980900
CONTRAST = 0x00980901
SATURATION = 0x00980902
HUE = 0x00980903
GAMMA = 0x00980910
GAIN = 0x00980913
SHARPNESS = 0x0098091B
EXPOSURE_ABSOLUTE = 0x009A0902
PAN_ABSOLUTE = 0x009A0908
TILT_ABSOLUTE = 0x009A0909
