# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Packets and quaternions as they go over the wire."""

from hypothesis import given, settings
from hypothesis import strategies as st
from miniscope_ros.daq import packets
import pytest

addresses = st.integers(0, 127).map(lambda half: 2 * half)
any_packet = st.builds(
    lambda address, rest: bytes((address,)) + rest, addresses, st.binary(min_size=1, max_size=5))
int16s = st.integers(-0x8000, 0x7FFF)
untimed = settings(deadline=None)


@pytest.mark.parametrize('text, words', [
    ('C0 1F 10', (0x03C0, 0x101F, 0x0000)),
    ('AA 01 02 03 04', (0x05AA, 0x0201, 0x0403)),
    ('B0 05 20 11 22 33', (0x05B1, 0x1120, 0x3322)),
    ('20 05 00 CC 00 E4', (0x0521, 0xCC00, 0xE400)),
    ('FE 00', (0x02FE, 0x0000, 0x0000)),
])
def test_golden_packets(text, words):
    assert packets.encode(packets.parse(text)) == words
    assert packets.decode(words) == packets.parse(text)


@untimed
@given(any_packet)
def test_decode_is_the_inverse_of_encode(packet):
    words = packets.encode(packet)
    assert all(0 <= word <= 0xFFFF for word in words)
    assert any(words), 'the firmware takes 0, 0, 0 for a packet of length 0'
    assert packets.decode(words) == packet


@untimed
@given(st.one_of(st.binary(max_size=1), st.binary(min_size=7, max_size=300)))
def test_encode_refuses_lengths_that_cannot_be_sent(packet):
    with pytest.raises(ValueError, match=f'{len(packet)} bytes, where 2 to 6'):
        packets.encode(packet)


@untimed
@given(any_packet)
def test_encode_refuses_odd_addresses(packet):
    # They could not be told from packets of six bytes.
    with pytest.raises(ValueError, match='address .. is odd'):
        packets.encode(bytes((packet[0] | 1,)) + packet[1:])


@pytest.mark.parametrize('length', [0, 1, 6, 255])
def test_decode_refuses_lengths_that_no_packet_has(length):
    with pytest.raises(ValueError, match=f'length {length}'):
        packets.decode((0x20 | length << 8, 0, 0))


@untimed
@given(any_packet)
def test_parse_reads_hex_of_either_case(packet):
    assert packets.parse(packet.hex(' ')) == packet
    assert packets.parse(packet.hex(' ').upper()) == packet


@pytest.mark.parametrize('text', ['', 'C0', 'C0 1', 'C0 XX', 'C0 1F 10 00 00 00 00', '21 01'])
def test_parse_names_a_faulty_text(text):
    with pytest.raises(ValueError, match=f"^'{text}' is no packet .*write 2 to 6 bytes"):
        packets.parse(text)


def test_packets_for_the_box_itself():
    assert bytes.fromhex('FE 00') == packets.START_ORIENTATION
    assert bytes.fromhex('FE 01') == packets.HARD_RESET


@pytest.mark.parametrize('pixel_clock, mode', [
    (16.6, ('C0 1F 10', 'B0 05 20')), (50, ('C0 1F 10', 'B0 05 20')),
    (50.01, ('C0 1F 11', 'B0 05 21')), (96, ('C0 1F 11', 'B0 05 21'))])
def test_serdes_mode_follows_the_pixel_clock(pixel_clock, mode):
    assert packets.serdes(pixel_clock) == tuple(map(bytes.fromhex, mode))


@untimed
@given(st.tuples(int16s, int16s, int16s, int16s))
def test_decode_words_from_signed_and_unsigned_words(quaternion):
    w, x, y, z = (component & 0xFFFF for component in quaternion)
    unsigned = (w | x << 16, y | z << 16)
    signed = tuple(word - (1 << 32) if word >> 31 else word for word in unsigned)
    assert packets.decode_words(*unsigned) == quaternion
    assert packets.decode_words(*signed) == quaternion


def test_decode_words_golden():
    # w = 16384, x = -1, y = -16384, z = 2
    assert packets.decode_words(-0x0000C000, 0x0002C000) == (16384, -1, -16384, 2)
