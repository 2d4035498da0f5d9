# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""
The real recording of a Miniscope V4 that comes with the source distribution of edlio.

It is obtained once from the package registry that pip is set to, unpacked without being
installed, and kept in the user's cache folder. Where no registry answers, tests that need it are
skipped with that reason.
"""
import functools
import os
from pathlib import Path
import subprocess
import sys
import tarfile
import tempfile

import pytest

_SOURCE = 'edlio==0.2.1'
_FOLDER = 'edlio-0.2.1'
_SAMPLE = Path(_FOLDER, 'tests', 'samples', 'blink1')
_TIMEOUT = 180  # [s]


def blink1() -> Path:
    """Return the recording's folder (Syntalos; 1287 frames, 608x608 px, 20 frames/s), or skip."""
    folder, reason = _obtain()
    if folder is None:
        pytest.skip(f'the real recording (from the source of {_SOURCE}) is not there: {reason}')
    return folder


@functools.lru_cache(maxsize=1)
def _obtain() -> tuple[Path | None, str]:
    cache = Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'miniscope_ros')
    if not (cache / _SAMPLE).is_dir():
        try:
            _fetch(cache)
        except subprocess.CalledProcessError as error:
            return None, (error.stderr.strip() or str(error)).splitlines()[-1]
        except (OSError, subprocess.TimeoutExpired, tarfile.TarError) as error:
            return None, str(error)
    return cache / _SAMPLE, ''


def _fetch(cache: Path) -> None:
    """Unpack the source distribution beside the cache, then move it there as a whole."""
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        subprocess.run(
            [sys.executable, '-m', 'pip', 'download', '--no-deps', '--no-binary', ':all:',
             '--disable-pip-version-check', '--retries', '1', '--dest', scratch, _SOURCE],
            check=True, capture_output=True, text=True, timeout=_TIMEOUT)
        with tarfile.open(next(Path(scratch).glob('*.tar.gz'))) as archive:
            archive.extractall(scratch, filter='data')
        try:
            Path(scratch, _FOLDER).rename(cache / _FOLDER)
        except OSError:
            if not (cache / _SAMPLE).is_dir():  # else another process was faster
                raise
