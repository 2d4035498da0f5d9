# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
What goes over the wire: I2C packets inside three UVC control words, and quaternions back.

A packet is [8-bit write address, register bytes, data bytes], 2 to 6 bytes long.
"""

from __future__ import annotations

from miniscope_ros.model import RawQuaternion

Packet = bytes


SHORTEST = 2
LONGEST = 6

START_ORIENTATION: Packet = b'\xfe\x00'
"""Makes the box poll the orientation sensor."""

HARD_RESET: Packet = b'\xfe\x01'
"""Restarts the box, which comes back as a new USB device."""


def parse(text: str) -> Packet:
    """Return the packet written as hex text ('C0 1F 10'); ValueError names a faulty text."""
    try:
        packet = bytes.fromhex(text)
        check(packet)
    except ValueError as error:
        raise ValueError(
            f"'{text}' is no packet ({error}); write {SHORTEST} to {LONGEST} bytes as two hex "
            "digits each, as in 'C0 1F 10'") from None
    return packet


def check(packet: Packet) -> None:
    """Raise ValueError for a packet that the box cannot send on."""
    if not SHORTEST <= len(packet) <= LONGEST:
        raise ValueError(f'{len(packet)} bytes, where {SHORTEST} to {LONGEST} can be sent')
    if packet[0] & 1:
        # The box reads this bit as 'six bytes long'.
        raise ValueError(f'address {packet[0]:02X} is odd, where a write address is even')


def encode(packet: Packet) -> tuple[int, int, int]:
    """
    Return the CONTRAST, GAMMA and SHARPNESS words, in the order they are to be written.

    They are never 0, 0, 0, which the firmware would take for a packet of length 0. Raises
    ValueError for a packet that the box cannot send on.
    """
    check(packet)
    if len(packet) < LONGEST:
        sent = bytes((packet[0], len(packet))) + packet[1:].ljust(LONGEST - 2, b'\0')
    else:
        sent = bytes((packet[0] | 1,)) + packet[1:]
    return sent[0] | sent[1] << 8, sent[2] | sent[3] << 8, sent[4] | sent[5] << 8


def decode(words: tuple[int, int, int]) -> Packet:
    """Return the packet in three control words: what the firmware does. Inverse of encode."""
    sent = b''.join(word.to_bytes(2, 'little') for word in words)
    if sent[0] & 1:
        return bytes((sent[0] & 0xFE,)) + sent[1:]
    length = sent[1]
    if not SHORTEST <= length < LONGEST:
        raise ValueError(f'words {words} hold a packet of length {length}')
    return sent[:1] + sent[2:length + 1]


def serdes(pixel_clock: float) -> tuple[Packet, Packet]:
    """Return the packets that set both ends of the link to a pixel clock [MHz]."""
    mode = 1 if pixel_clock > 50 else 0
    return bytes((0xC0, 0x1F, 0x10 | mode)), bytes((0xB0, 0x05, 0x20 | mode))


def decode_words(low: int, high: int) -> RawQuaternion:
    """
    Return w, x, y, z (int16, 1.0 = 16384) from the words w | x << 16 and y | z << 16.

    These are PAN and TILT of the UCLA firmware (signed) or two pixel words of the Open Ephys
    firmware (unsigned).
    """
    return _int16(low), _int16(low >> 16), _int16(high), _int16(high >> 16)


def _int16(value: int) -> int:
    return (value + 0x8000 & 0xFFFF) - 0x8000
