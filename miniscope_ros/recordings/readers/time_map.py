# Copyright 2026 miniscope_ros contributors
# SPDX-License-Identifier: BSD-3-Clause
"""The time maps of Syntalos (.tsync), read with edlio, as far as they are whole."""

from __future__ import annotations

from datetime import timezone
import importlib
from pathlib import Path
import struct
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from miniscope_ros.regular import check_regular
import numpy as np
from numpy.typing import NDArray

# The end of a block, before its checksum; edlio/dataio/tsyncfile.py, TSYNC_BLOCK_TERM.
_BLOCK_END = struct.pack('<Q', 0x1126000000000000)
_CHECKSUM_SIZE = 8  # bytes
_LARGEST = 1 << 29  # bytes; a week at 30 frames/s has half of it
_TRIES = 4  # blocks from the end that are given up before the whole map is


class TimeMap(NamedTuple):
    """The times of the frames of one video file."""

    times_ms: NDArray[np.float64]
    created_ns: int  # when the file was made, since 1970 UTC


def read_time_map(path: Path, warnings: list[str]) -> TimeMap | None:
    """
    Read a map; of one that was cut off or is damaged the whole blocks before that.

    Returns None where it cannot be read at all; then, and where a part is left out, a warning is
    added. Raises ValueError where it is not a map of frames.
    """
    try:
        if check_regular(path) > _LARGEST:
            raise ValueError('it is larger than any recording needs')
        return _time_map(path)
    except FileNotFoundError:
        warnings.append(f'{path} is missing')
        return None
    except OSError as error:
        warnings.append(f'{path} cannot be read: {error.strerror}')
        return None
    except _NoFrames:
        raise
    except Exception as error:  # edlio takes what is damaged for anything
        reason = str(error) or type(error).__name__
    rescued = _rescue(path.read_bytes())
    if rescued is None:
        warnings.append(f'{path} was cut off or is corrupt ({reason}); it is not used')
    else:
        warnings.append(f'{path} was cut off or is corrupt ({reason}); its first '
                        f'{len(rescued.times_ms)} times are used')
    return rescued


def _rescue(content: bytes) -> TimeMap | None:
    """Return what the whole blocks hold; None where there is no whole one."""
    end = len(content)
    for _ in range(_TRIES):
        end = content.rfind(_BLOCK_END, 0, end)
        if end < 0:
            return None
        stop = end + len(_BLOCK_END) + _CHECKSUM_SIZE
        if stop > len(content):
            continue
        with NamedTemporaryFile(suffix='.tsync') as copy:
            copy.write(content[:stop])
            copy.flush()
            try:
                found = _time_map(Path(copy.name))
            except Exception:  # as above
                continue
        if found.times_ms.size:
            return found
    return None


class _NoFrames(ValueError):
    """A map of something else."""


def _time_map(path: Path) -> TimeMap:
    edlio: Any = importlib.import_module('edlio')
    reader: Any = importlib.import_module('edlio.dataio.tsyncfile')
    found = reader.TSyncFile(str(path))
    frame_unit, time_unit = found.time_units
    if frame_unit != edlio.ureg.dimensionless:
        raise _NoFrames(f'{path}: the time map counts {frame_unit}, not frames')
    milliseconds = edlio.ureg.Quantity(1, time_unit).to('millisecond').magnitude
    # Its frame numbers are consecutive in any case.
    times = np.asarray(found.times[:, 1] * milliseconds, dtype=np.float64)
    return TimeMap(times, round(_epoch(found.time_created) * 1e9))


def _epoch(created: Any) -> float:
    """Return a naive time of UTC as seconds since 1970."""
    return float(created.replace(tzinfo=timezone.utc).timestamp())
