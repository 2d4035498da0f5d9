# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""One sweep that a client has asked for: its thread, its feedback, its files, its result."""

from __future__ import annotations

from collections.abc import Callable
import logging
import math
from threading import Thread

from miniscope_msgs.action import Sweep as SweepAction
from miniscope_ros.acquisition.sweep import Sweep, SweepEnded
from miniscope_ros.acquisition.sweep_files import SweepFiles
from miniscope_ros.acquisition.sweep_frames import SweepStep
from miniscope_ros.daq.control import show
from miniscope_ros.errors import MiniscopeError
from rclpy.action.server import ServerGoalHandle

_log = logging.getLogger(__name__)


def empty_result(message: str = '') -> SweepAction.Result:
    """Return a result of which nothing is known yet but a message."""
    return SweepAction.Result(message=message, best_value=math.nan, restored_value=math.nan)


class SweepRun:
    """
    Runs a sweep in a thread of its own, so that neither capture nor executor wait for it.

    The thread works out the sharpness, writes the files and sends the feedback.
    """

    def __init__(
        self, goal: ServerGoalHandle, sweep: Sweep, files: SweepFiles | None,
        on_over: Callable[[], None],
    ) -> None:
        """Start nothing yet; on_over is called at the very end, in the sweep's thread."""
        self.goal = goal
        self.sweep = sweep
        self.result = empty_result()
        self._files = files
        self._on_over = on_over
        self._thread = Thread(target=self._run, name='sweep', daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for the end of the thread, at most timeout [s]; return whether it has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        result = self.result
        try:
            self.sweep.run(self._take)
            result.success = True
        except SweepEnded as error:
            result.message = str(error)
        except MiniscopeError as error:
            result.message = str(error)
            _log.error('the sweep was ended: %s', error)
        except Exception as error:
            result.message = f'{type(error).__name__}: {error}'
            _log.error('the sweep met an error: %s', error, exc_info=error)
        finally:
            self._close_files()
            self._on_over()

    def _take(self, step: SweepStep) -> None:
        """Add what was taken under one value to files, result and feedback."""
        if self._files is not None:
            self._files.add(step)
        result = self.result
        result.values.append(step.value)
        result.sharpness.append(step.sharpness)
        result.brightness.append(step.brightness)
        result.first_capture_index.append(step.first_capture_index)
        result.last_capture_index.append(step.last_capture_index)
        if step.sharpness == max(result.sharpness):
            result.best_value = step.value
        self.goal.publish_feedback(SweepAction.Feedback(
            step=len(result.values), steps=len(self.sweep.plan.values), value=step.value,
            sharpness=step.sharpness, brightness=step.brightness,
            first_capture_index=step.first_capture_index,
            last_capture_index=step.last_capture_index))

    def _close_files(self) -> None:
        result = self.result
        try:
            if self._files is not None:
                result.files = [str(path) for path in self._files.close()]
        except MiniscopeError as error:
            _log.error('%s', error)
            result.success = False
            result.message = '; '.join(filter(None, (result.message, str(error))))
        if result.success:
            result.message = (
                f'{len(result.values)} values of {self.sweep.plan.control} were taken; the mean '
                f'image is sharpest at {show(result.best_value)}')
