# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs all checks, also after one that fails, and leaves the scope dark."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
import time

from miniscope_ros.check.bench import Bench
from miniscope_ros.check.finding import Finding, Outcome, untold
from miniscope_ros.check.table import Check, CHECKS
from miniscope_ros.errors import Interrupted, MiniscopeError
from miniscope_ros.model import LIGHT_MAY_BE_ON

_NOT_MEASURED = 'a measurement'


@dataclass(frozen=True)
class Line:
    """A check that has run."""

    name: str
    finding: Finding
    seconds: float

    def __str__(self) -> str:
        """Return the line of the terminal."""
        found = self.finding
        return (f'{found.outcome.value:<11}  {self.name:<26}  {found.measured}'
                f'  (expected: {found.expected})')


@dataclass(frozen=True)
class Account:
    """What a run came to."""

    lines: tuple[Line, ...]
    ended_early: bool
    light_problem: str  # why the light is not known to be dark; empty: it is

    @property
    def status(self) -> int:
        """Return the exit status: 0 only if nothing failed, everything ran, and it is dark."""
        failed = any(line.finding.outcome is Outcome.FAIL for line in self.lines)
        return int(failed or self.ended_early or bool(self.light_problem))


def run(
    bench: Bench, report: Callable[[Line], None], checks: Sequence[Check] = CHECKS,
) -> Account:
    """Run the checks in order; report is called after each."""
    lines: list[Line] = []
    ended_early = False
    try:
        for number, check in enumerate(checks, 1):
            bench.progress(f'{number}/{len(checks)} {check.name}')
            began = time.monotonic()
            finding = _run_one(bench, check, lines)
            lines.append(Line(check.name, finding, time.monotonic() - began))
            report(lines[-1])
    except Interrupted:
        ended_early = True
    return Account(tuple(lines), ended_early, _leave_dark(bench))


def _run_one(bench: Bench, check: Check, before: Sequence[Line]) -> Finding:
    bench.check_stop()
    if bench.settings.simulated and check.real_only:
        return untold('a simulated scope has none', 'a real scope')
    outcomes = {line.name: line.finding.outcome for line in before}
    missing = [name for name in check.needs if outcomes.get(name) is Outcome.FAIL
               or (name in _GATES and outcomes.get(name) is Outcome.CANNOT_TELL
                   and not bench.settings.simulated)]
    if missing:
        return untold(f'not measured, because of: {", ".join(missing)}', _NOT_MEASURED)
    try:
        return check.run(bench)
    except Interrupted:
        raise
    except MiniscopeError as error:
        bench.close()
        return Finding(Outcome.FAIL, ' '.join(str(error).split()), 'no error')


_GATES = ('usb identity', 'control ranges', 'link', 'led ladder')
"""Without a result of these checks, the checks that need them have nothing to measure."""


def _leave_dark(bench: Bench) -> str:
    try:
        if bench.close():
            return ''
        bench.make_dark()
    except MiniscopeError as error:
        return f'{LIGHT_MAY_BE_ON}: {error}'
    return ''
