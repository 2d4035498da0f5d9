# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The panel in a process of its own."""
from collections.abc import Iterator, Mapping
import contextlib
from pathlib import Path
import re
from urllib.parse import urlsplit

from node_process import NodeProcess

ENTRY_POINT = 'from miniscope_ros.commands.panel import main; main()'


class Panel:
    """A running panel."""

    def __init__(self, process: NodeProcess) -> None:
        self.process = process
        line = process.wait_for_output('^Panel: http')
        found = re.search(r'http\S+', line)
        assert found is not None
        self.address = found.group()

    @property
    def port(self) -> int:
        """Return where it serves."""
        port = urlsplit(self.address).port
        assert port is not None
        return port

    @property
    def token(self) -> str:
        """Return what it asks for; empty: nothing."""
        return self.address.partition('token=')[2]


@contextlib.contextmanager
def panel(
    data: Path, *arguments: str, port: int = 0, environment: Mapping[str, str] | None = None,
) -> Iterator[Panel]:
    """Run the panel, which keeps its form under data, and have it end in order."""
    process = NodeProcess(
        arguments=['--port', str(port), *arguments], python=['-c', ENTRY_POINT],
        environment={'XDG_DATA_HOME': str(data), **(environment or {})})
    try:
        yield Panel(process)
        if process.alive:
            assert process.stop() == 0, process.output
        assert 'Traceback' not in process.output, process.output
    finally:
        if process.alive:
            process.kill()
