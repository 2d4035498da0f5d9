# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""Runs of check_scope on virtual boxes, and what they said."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
import json
from pathlib import Path
import subprocess
import sys
from threading import Thread
from typing import Any

from virtual_daq import Box, BoxConfig, VirtualDaq

COMMAND = 'from miniscope_ros.commands.check_scope import main; main()'
PATIENCE = 280.0  # [s]

OnLine = Callable[[Box, str, 'subprocess.Popen[str]'], None]
"""Called with each line of the output, in a thread of its own."""


@dataclass
class Checked:
    """A run that has ended."""

    status: int
    output: str
    errors: str
    report: dict[str, Any]
    markdown: str
    led: float  # of the box, after the end
    protocol_faults: list[Any] = field(default_factory=list)

    def named(self, outcome: str) -> set[str]:
        """Return the names of the checks with an outcome."""
        return {check['name'] for check in self.report['checks']
                if check['outcome'] == outcome}

    @property
    def failed(self) -> set[str]:
        """Return the names of the checks that failed."""
        return self.named('FAIL')


def check(
    folder: Path, config: BoxConfig, *arguments: str, begin: Callable[[Box], None] | None = None,
    on_line: OnLine | None = None, answers: str | None = None,
) -> Checked:
    """Run check_scope on a box and return what came of it; answers is its input."""
    folder.mkdir(exist_ok=True)
    rig = VirtualDaq(folder, [config])
    if begin is not None:
        begin(rig.box)
    report = folder / 'report'
    program = rig.popen(
        '-c', COMMAND, '--report', str(report), *arguments, stderr=subprocess.PIPE)
    assert program.stdin is not None and program.stdout is not None
    if answers is not None:
        program.stdin.write(answers)
        program.stdin.close()
        program.stdin = None
    lines: list[str] = []

    def listen() -> None:
        assert program.stdout is not None
        for line in program.stdout:
            lines.append(line)
            if on_line is not None:
                on_line(rig.box, line, program)

    listener = Thread(target=listen)
    listener.start()
    assert program.stderr is not None
    try:
        errors = program.stderr.read()
        status = program.wait(PATIENCE)
    finally:
        program.kill()
        listener.join()
    return Checked(
        status, ''.join(lines), errors, _content(report), _text(report), rig.box.led,
        rig.box.protocol_faults)


def _content(report: Path) -> dict[str, Any]:
    path = report.with_suffix('.json')
    return json.loads(path.read_text() or '{}') if path.exists() else {}


def _text(report: Path) -> str:
    path = report.with_suffix('.md')
    return path.read_text() if path.exists() else ''


def plain(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """Run check_scope without a box."""
    return subprocess.run(
        [sys.executable, '-c', COMMAND, *arguments], text=True, capture_output=True, timeout=120,
        stdin=subprocess.DEVNULL)
