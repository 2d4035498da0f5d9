# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Jobs of one thread, as other threads see them."""
from threading import Event, Thread

from miniscope_ros.acquisition.command_queue import CommandQueue
from miniscope_ros.errors import DeviceError
import pytest


class LateLook(Thread):
    """A thread that is seen as ended only when it has done its last job meanwhile."""

    def __init__(self, commands: CommandQueue) -> None:
        super().__init__()
        self._commands = commands
        self.asked = Event()

    def run(self) -> None:
        self.asked.wait()
        job = self._commands.get(None)
        assert job is not None
        job()

    def is_alive(self) -> bool:
        self.asked.set()  # whoever asks has not seen the job done yet
        self.join()
        return super().is_alive()


def test_a_job_that_was_the_threads_last_is_done() -> None:
    commands = CommandQueue()
    thread = LateLook(commands)
    thread.start()
    assert commands.call(thread, lambda: 'done') == 'done'


def test_a_job_of_a_thread_that_has_ended_is_not() -> None:
    commands = CommandQueue()
    thread = Thread(target=lambda: None)
    thread.start()
    thread.join()
    with pytest.raises(DeviceError, match='closed before'):
        commands.call(thread, lambda: 'never')


def test_errors_come_back() -> None:
    commands = CommandQueue()

    def work() -> None:
        while (job := commands.get(None)) is not None:
            job()
            if ended.is_set():
                return

    ended = Event()
    thread = Thread(target=work)
    thread.start()
    with pytest.raises(ZeroDivisionError):
        commands.call(thread, lambda: 1 / 0)
    ended.set()
    commands.wake()
    thread.join()
