# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Sweeps: of an acquisition without ROS, and through the action of a node."""
from __future__ import annotations

from collections.abc import Callable
from threading import Thread
from typing import Any

from capturing import Ear
from listening import Listener
from miniscope_msgs.action import Sweep as SweepAction
from miniscope_ros.acquisition.events import Change
from miniscope_ros.acquisition.frame_accounting import Frame
from miniscope_ros.acquisition.sweep import Sweep
from miniscope_ros.acquisition.sweep_frames import SweepStep
from node_process import PATIENCE
import numpy as np
from rclpy.action import ActionClient


class SweepEar(Ear):
    """An ear through which a sweep gets its frames; keeps their images by capture index."""

    def __init__(self) -> None:
        super().__init__()
        self.sweep: Sweep | None = None
        self.images: dict[int, np.ndarray] = {}

    def on_frame(self, frame: Frame) -> None:
        super().on_frame(frame)
        if self.sweep is not None:
            self.images[frame.capture_index] = frame.sample.image.copy()
            self.sweep.on_frame(frame)

    def on_change(self, change: Change) -> None:
        super().on_change(change)
        if self.sweep is not None:
            self.sweep.on_change(change)

    def on_interrupted(self, reason: str) -> None:
        super().on_interrupted(reason)
        if self.sweep is not None:
            self.sweep.on_interrupted(reason)


class SweepThread:
    """Runs a sweep in a thread; steps and error can be looked at after join."""

    def __init__(
        self, sweep: Sweep, on_step: Callable[[SweepStep], None] = lambda step: None,
    ) -> None:
        self.steps: list[SweepStep] = []
        self.error: BaseException | None = None
        self._sweep = sweep
        self._on_step = on_step
        self._thread = Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._sweep.run(self._take)
        except BaseException as error:
            self.error = error

    def _take(self, step: SweepStep) -> None:
        self.steps.append(step)
        self._on_step(step)

    def join(self) -> SweepThread:
        """Return when the sweep has ended."""
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive(), 'the sweep has not ended'
        return self


class Sweeper:
    """A client of ~/sweep."""

    def __init__(self, ear: Listener) -> None:
        self._ear = ear
        self._client = ActionClient(ear.node, SweepAction, ear.topic('sweep'))
        assert ear.state  # the node knows the client made before the one that has asked this
        assert self._client.wait_for_server(PATIENCE)
        self.feedback: list[SweepAction.Feedback] = []

    def send(self, **fields: Any) -> Any:
        """Send a goal and return its handle; it was accepted."""
        self.feedback = feedback = []
        goal = SweepAction.Goal(**{
            'control': 'focus', 'from_value': -8.0, 'to_value': 8.0, 'step': 8.0, 'frames': 3,
            'format': 'none', **fields})
        handle = self._ask(
            self._client.send_goal_async, goal, lambda message: feedback.append(message.feedback))
        assert handle.accepted
        return handle

    def result(self, handle: Any) -> tuple[int, SweepAction.Result]:
        """Return status and result once the goal is over."""
        answer = self._ask(handle.get_result_async)
        return answer.status, answer.result

    def sweep(self, **fields: Any) -> tuple[int, SweepAction.Result]:
        """Send a goal; return its status and result."""
        return self.result(self.send(**fields))

    def cancel(self, handle: Any) -> bool:
        """Ask for the end of a goal; return whether that was granted."""
        return bool(self._ask(handle.cancel_goal_async).goals_canceling)

    def _ask(self, question: Callable[..., Any], *given: Any) -> Any:
        return self._ear.answer(self._ear.in_its_thread(question, *given))
