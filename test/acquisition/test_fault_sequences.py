# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Random sequences of what can befall a box and of what users do meanwhile; the account holds."""
from __future__ import annotations

import contextlib
import errno
from pathlib import Path
import tempfile

from capturing import Capture, capture, check_account, check_changes, V4
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    initialize,
    precondition,
    rule,
    RuleBasedStateMachine,
    run_state_machine_as_test,
)
import pytest
from virtual_daq import Fault

FRAME_FAULTS = [
    fault for fault in Fault if fault not in (Fault.FREEZE, Fault.UNPLUG, Fault.TRANSFER)]


class Experiment(RuleBasedStateMachine):
    """A scope in the hands of a user with a bad cable."""

    scope: Capture

    def __init__(self) -> None:
        super().__init__()
        self.stack = contextlib.ExitStack()
        self.active = False
        self.values = {'led': 20.0, 'gain': 1.0, 'focus': 0.0}

    @initialize(
        open_ephys=st.booleans(),
        kernel=st.sampled_from(['fixed_firmware', 'old_kernel', 'new_kernel']))
    def configure(self, open_ephys: bool, kernel: str) -> None:
        folder = Path(self.stack.enter_context(tempfile.TemporaryDirectory()))
        self.scope = self.stack.enter_context(capture(
            folder, self.values, open_ephys=open_ephys, kernel=kernel, jitter=0.0004))
        self.scope.acquisition.open()
        self.activate()

    @precondition(lambda self: not self.active)
    @rule()
    def activate(self) -> None:
        self.sent = len(self.scope.ear.changes)
        self.scope.acquisition.activate()
        self.active = True
        self.scope.ear.wait_frames(1)

    @precondition(lambda self: self.active)
    @rule()
    def deactivate(self) -> None:
        scope = self.scope
        scope.ear.wait_frames(3)
        scope.acquisition.deactivate()
        self.active = False
        assert scope.box.led == 0.0
        self.check()

    def check(self) -> None:
        scope = self.scope
        told, status = scope.ear.frames, scope.status
        lost = check_account(told, scope.box)
        assert status.published == len(told)
        # Frames that came in damaged after the last one count, too.
        trailing = status.losses.lost - lost
        assert status.captured == told[-1].frame.capture_index + 1 + trailing
        assert 0 <= trailing <= status.losses.damaged
        check_changes(scope.ear.changes[self.sent:], told, scope.box)

    @rule(faults=st.lists(st.tuples(st.integers(0, 25), st.sampled_from(FRAME_FAULTS)),
                          min_size=1, max_size=12))
    def befall_frames(self, faults: list[tuple[int, Fault]]) -> None:
        begin = self.scope.box.frame + 2
        self.scope.box.plan([(begin + place, fault) for place, fault in faults])
        self.scope.box.wait_frames(30)

    @rule(values=st.fixed_dictionaries({}, optional={
        'led': st.integers(0, 100).map(float), 'focus': st.integers(-127, 127).map(float),
        'gain': st.sampled_from([1.0, 2.0, 3.5])}))
    def set_values(self, values: dict[str, float]) -> None:
        for name, value in values.items():
            self.scope.source.set_value(name, value)
        self.values |= values
        self.check_registers()

    def check_registers(self) -> None:
        """Wait until the box has the user's values, the light dark unless active."""
        for name, value in self.values.items():
            value = value if self.active or name != 'led' else 0.0
            raw = V4.controls[name].raw(value)[0]
            self.scope.box.wait(lambda name=name, raw=raw: self.scope.box.raw(name) == raw)

    @rule(how=st.sampled_from(['unplug', 'fault', 'reset', 'hard_reset', 'refuse']),
          number=st.integers(0, 5), bad_at_start=st.integers(0, 3),
          gain=st.sampled_from([1.0, 2.0, 3.5]))
    def lose_the_box(self, how: str, number: int, bad_at_start: int, gain: float) -> None:
        scope, box = self.scope, self.scope.box
        before = scope.status.reconnects
        box.bad_at_start(bad_at_start)
        if how == 'reset':
            box.reset()
        elif how == 'hard_reset':
            scope.acquisition.hard_reset()
        elif how == 'refuse':
            box.refuse_writes(errno.EIO)
            scope.source.set_value('gain', gain)
        elif how == 'fault':
            box.next_frame(Fault.UNPLUG)
        else:
            box.unplug()
        scope.wait_lost()
        scope.source.set_value('gain', gain)  # kept, and applied afterwards
        self.values['gain'] = gain
        box.refuse_writes(0)
        if not box.present and how in ('fault', 'unplug'):
            box.plug(2 * number)
        box.wait(lambda: scope.status.reconnects > before, 20.0)
        assert scope.status.state == ('active' if self.active else 'inactive')
        self.check_registers()

    @rule(on=st.booleans())
    def switch_sync(self, on: bool) -> None:
        self.scope.acquisition.set_sync(on)
        self.scope.box.wait_frames(5)

    @rule()
    def refuse_a_write(self) -> None:
        self.scope.box.refuse_writes(errno.EIO, 1)
        self.scope.source.set_value('focus', self.values['focus'])
        self.scope.box.wait_frames(3)

    @rule(levels=st.integers(0, 1))
    def trigger(self, levels: int) -> None:
        self.scope.box.trigger(levels)

    @rule(resting=st.booleans())
    def rest(self, resting: bool) -> None:
        self.scope.box.rest(resting)

    def teardown(self) -> None:
        with self.stack:
            if self.active:
                self.deactivate()


@pytest.mark.parametrize('examples, steps', [
    (3, 8), pytest.param(60, 25, marks=[pytest.mark.soak, pytest.mark.timeout(3600)])])
def test_any_sequence_keeps_the_account(examples: int, steps: int) -> None:
    run_state_machine_as_test(Experiment, settings=settings(
        max_examples=examples, stateful_step_count=steps, deadline=None, derandomize=True,
        database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)))
