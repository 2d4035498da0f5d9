# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What can be set on a scope, and the packets that set it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from miniscope_ros.daq.packets import Packet

LIGHTS = ('led', 'led2')
"""The controls that are lights; value 0 is their darkest."""


@dataclass(frozen=True)
class Slot:
    """The place of a raw value's byte in a packet."""

    word: int  # 0: the first raw value, 1: the second
    byte: int  # 0: the least significant


@dataclass(frozen=True)
class Template:
    """A packet in which bytes of the raw values are still to be filled in."""

    cells: tuple[int | Slot, ...]

    @property
    def slots(self) -> set[Slot]:
        """Return the places to be filled in."""
        return {cell for cell in self.cells if isinstance(cell, Slot)}

    def fill(self, raw: tuple[int, ...]) -> Packet:
        """Return the packet that carries the raw values."""
        return bytes(
            raw[cell.word] >> 8 * cell.byte & 0xFF if isinstance(cell, Slot) else cell
            for cell in self.cells)

    def match(self, packet: Packet) -> dict[Slot, int] | None:
        """Return the bytes that a packet carries in the slots; None if it is no such packet."""
        if len(packet) != len(self.cells):
            return None
        found: dict[Slot, int] = {}
        for cell, byte in zip(self.cells, packet, strict=True):
            expected = found.setdefault(cell, byte) if isinstance(cell, Slot) else cell
            if byte != expected:
                return None
        return found


@dataclass(frozen=True)
class Control:
    """
    One thing that can be set on a scope, and the packets that set it.

    It has either a range (minimum to maximum) or choices, which map a value to its raw values.
    """

    name: str
    minimum: float | None
    maximum: float | None
    choices: Mapping[float, tuple[int, ...]] | None
    start: float
    scale: float
    offset: float
    shift: int
    templates: tuple[Template, ...]

    @property
    def darkest(self) -> float:
        """Return the value at which a light is darkest."""
        return 0.0

    @property
    def allowed(self) -> str:
        """Return in words what can be set."""
        if self.choices is not None:
            return 'one of ' + ', '.join(map(show, sorted(self.choices)))
        assert self.minimum is not None and self.maximum is not None
        return f'{show(self.minimum)} to {show(self.maximum)}'

    def check(self, value: float) -> None:
        """Raise ValueError, with what is allowed, for a value that cannot be set."""
        if self.choices is not None:
            good = value in self.choices
        else:
            assert self.minimum is not None and self.maximum is not None
            good = self.minimum <= value <= self.maximum
        if not good:
            raise ValueError(f'{self.name} cannot be {show(value)}: it is {self.allowed}')

    def raw(self, value: float) -> tuple[int, ...]:
        """
        Return the raw value, or both of them where the control has two.

        It is round(value * scale - offset) << shift in double precision, halves to even.
        Raises ValueError for a value that is not allowed.
        """
        self.check(value)
        if self.choices is not None:
            return self.choices[value]
        return (round(value * self.scale - self.offset) << self.shift,)

    def value_of_raw(self, raw: tuple[int, ...]) -> float | None:
        """Return a value that has these raw values; None if there is none."""
        if self.choices is not None:
            return next((value for value, known in self.choices.items() if known == raw), None)
        assert self.minimum is not None and self.maximum is not None
        value = ((raw[0] >> self.shift) + self.offset) / self.scale
        value = min(max(value, self.minimum), self.maximum)  # against binary noise at the ends
        return value + 0.0 if self.raw(value) == raw else None  # + 0.0: no -0.0

    def packets(self, value: float) -> list[Packet]:
        """Return the packets that set a value, in order; ValueError if it is not allowed."""
        raw = self.raw(value)
        return [template.fill(raw) for template in self.templates]

    def after(self, raw: tuple[int, ...], packet: Packet) -> tuple[int, ...] | None:
        """
        Return the raw values after a packet was executed, given those before.

        None if the packet is none of this control's. This is how a simulated scope follows its
        controls. A packet of the init list may set raw values that no value of the control has.
        """
        for template in self.templates:
            found = template.match(packet)
            if found is not None:
                words = list(raw)
                for slot, byte in found.items():
                    shift = 8 * slot.byte
                    words[slot.word] = words[slot.word] & ~(0xFF << shift) | byte << shift
                return tuple(words)
        return None


def show(number: float | None) -> str:
    """Return a number as people write it: 20, not 20.0."""
    return str(number).removesuffix('.0')
