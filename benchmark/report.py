# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""What was measured, as a table to read and as JSON to compute with."""
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
import json
import os
from pathlib import Path
import platform
import sys
import time
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table; numbers are what the texts are made from."""

    figure: int
    what: str
    measured: str
    floor: str = ''
    goal: str = ''
    met: bool | None = None  # None: there is no goal
    numbers: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        met = {None: '', True: 'yes', False: '**no**'}[self.met]
        return '| ' + ' | '.join(
            [str(self.figure), self.what, self.measured, self.floor, self.goal, met]) + ' |'


HEAD = ('| # | figure | measured | floor | goal | met |\n'
        '|---|---|---|---|---|---|')


def machine(cpus: Iterable[int]) -> dict[str, str]:
    """Describe the command, the computer, and how busy others keep it."""
    cpu_info = Path('/proc/cpuinfo').read_text().splitlines()
    model = next((line.partition(':')[2].strip() for line in cpu_info if 'model name' in line), '')
    used = sorted(cpus)
    return {
        'command': ' '.join(['python3 -m benchmark', *sys.argv[1:]]),
        'date': time.strftime('%Y-%m-%d %H:%M'),
        'processor': f'{model or platform.machine()}, {os.cpu_count()} cores, {len(used)} used',
        'memory': f'{os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9:.0f} GB',
        'system': f'{platform.system()} {platform.release().partition("-")[0]}',
        'software': f'Python {platform.python_version()}, ROS 2 '
                    f'{os.environ.get("ROS_DISTRO", "(wheels)")}, '
                    f'{os.environ.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")}',
        'load': ' '.join(f'{load:.1f}' for load in os.getloadavg()),
    }


def heading(description: dict[str, str]) -> str:
    """Return what stands above the rows, as Markdown."""
    return '\n'.join([*(f'- {name}: {value}' for name, value in description.items()), '', HEAD])


def write(path: Path, description: dict[str, str], rows: Sequence[Row]) -> None:
    """Write everything as JSON, and as a table to a file of that name in .md."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = {'machine': description, 'rows': [asdict(row) for row in rows]}
    path.write_text(json.dumps(content, indent=1) + '\n')
    path.with_suffix('.md').write_text(
        '\n'.join([heading(description), *map(str, rows)]) + '\n')
