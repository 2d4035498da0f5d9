# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The node's side of the watcher: says what is open, and that the node lives."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
import json
import logging
import os
import subprocess
import sys
from threading import Event, Lock, Thread
import time

from miniscope_ros.watch import watcher
from miniscope_ros.watch.note import DeviceLock, NODE, Note

_log = logging.getLogger(__name__)

_SIGN_OF_LIFE_S = 1.0
_LIGHTS_OFF_S = 10.0
"""The longest wait for lights_off, which takes about 3 s."""
_END_S = 8.0
"""A node that was asked to end and has its light on after so long gives no signs of life."""


@dataclass
class _Watcher:
    """The running watcher."""

    process: subprocess.Popen[bytes]
    pipe: int


class Watch:
    """
    Watches over the light of one scope node.

    The watcher starts with the first opening: what never opens a box needs none. Its signs of
    life come from a thread of Python, so that whatever holds the interpreter's lock stops them.
    opening and closed may be called from any thread.
    """

    def __init__(
        self, light_may_be_on: Callable[[], bool], stop: Event,
        device_type: str = '', device_catalog: str = '',
    ) -> None:
        """Watch nothing yet; light_may_be_on is asked once a second, stop ends all waiting."""
        self._light_may_be_on = light_may_be_on
        self._stop = stop
        self._device_type = device_type
        self._device_catalog = os.path.abspath(device_catalog) if device_catalog else ''
        self._guard = Lock()
        self._note: Note | None = None  # of what is open, or was not known dark when closed
        self._open = False
        self._lighting = False  # it was announced, and the source may not have begun yet
        self._lock: DeviceLock | None = None
        self._watcher: _Watcher | None = None
        self._over = Event()
        self._signs: Thread | None = None

    def opening(self, path: str, usb_port: str) -> None:
        """
        Note that a box is about to be opened; call it before each opening.

        Waits while lights_off has the box. Raises DeviceHeld if another node has it.
        """
        with self._guard:
            if self._open and self._note is not None and self._note.usb_port == usb_port:
                return
            self._release()
            note = Note(
                os.getpid(), usb_port, path, self._device_type, self._device_catalog)
            try:
                self._lock = DeviceLock(usb_port, path, NODE, _LIGHTS_OFF_S, self._stop.is_set)
                self._lock.write(note)
            except OSError as error:
                _log.warning('no note can be left of the device for lights_off: %s', error)
            self._note, self._open = note, True
            self._start()
            self._send(self._opened())

    def lighting(self) -> None:
        """Note that the light is about to be switched on."""
        with self._guard:
            self._lighting = True
            self._send('lit')

    def closed(self, dark: bool | None) -> None:
        """
        Note that the device is closed.

        dark: whether its light is known to be off; None where the opening failed, so that
        nothing is known that was not known before.
        """
        with self._guard:
            if dark is not False:
                if self._lock is not None:
                    self._lock.remove_note(restore=dark is None)
                self._note = None
                self._send('closed')
            self._release()

    @property
    def left_lit(self) -> bool:
        """Return whether the device that was opened last may be lit, or is open."""
        return self._note is not None

    def finish(self) -> None:
        """Give no more signs of life: what is still lit is the watcher's from now on."""
        self._over.set()

    def _release(self) -> None:
        self._open = self._lighting = False
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def _opened(self) -> str:
        assert self._note is not None
        note = self._note
        arguments = ['--usb-port', note.usb_port, '--device-type', note.device_type]
        if note.device_catalog:
            arguments += ['--device-catalog', note.device_catalog]
        return f'opened {json.dumps(arguments)}'

    # The watcher

    def _start(self) -> None:
        if self._watcher is not None:
            return
        read, write = os.pipe()
        try:
            os.set_blocking(write, False)
            process = subprocess.Popen(
                # Without site packages and the user's settings: 10 MB, started in 20 ms.
                [sys.executable, '-S', '-E', '-s', watcher.__file__, str(os.getpid()),
                 os.pathsep.join(filter(None, sys.path))],
                stdin=read, stdout=2, start_new_session=True)
        except OSError as error:
            os.close(write)
            _log.error('the watcher cannot be started, so a node that is killed leaves its '
                       'light on: %s', error)
            return
        finally:
            os.close(read)
        self._watcher = _Watcher(process, write)
        if self._signs is None:
            self._signs = Thread(target=self._give_signs, name='signs of life', daemon=True)
            self._signs.start()

    def _give_signs(self) -> None:
        asked_to_end = 0.0
        while not self._over.wait(_SIGN_OF_LIFE_S):
            lit = self._light_may_be_on()
            if self._stop.is_set():
                asked_to_end = asked_to_end or time.monotonic()
                if lit and time.monotonic() > asked_to_end + _END_S:
                    return
            with self._guard:
                # Not dark between the announcement and the light itself: a node that hangs
                # before its next sign of life would be taken for dark for ever.
                self._lighting = self._lighting and not lit
                self._send('lit' if lit or self._lighting else 'dark')

    def _send(self, line: str) -> None:
        if self._watcher is None:
            return
        try:
            os.write(self._watcher.pipe, f'{line}\n'.encode())
        except BlockingIOError:
            pass  # it hangs, and will find enough to read when it goes on
        except OSError:
            self._restart()

    def _restart(self) -> None:
        """Replace a watcher that was killed."""
        assert self._watcher is not None
        gone, self._watcher = self._watcher, None
        os.close(gone.pipe)
        with suppress(subprocess.TimeoutExpired):
            gone.process.wait(0)
        if self._note is None:
            return  # one is started with the next opening
        self._start()
        if self._watcher is not None:
            self._send(self._opened())
            _log.warning('the watcher had ended (exit status %s); another one was started',
                         gone.process.returncode)
