"""What every method does with raw patterns and with threads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray


@contextmanager
def single_threaded() -> Iterator[None]:
    """Torch with one thread inside each operation, restored afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def no_data(frames: NDArray[Any]) -> NDArray[np.bool_]:
    """Frames that are empty, saturated or constant, ``(b,)``."""
    flat = frames.reshape(len(frames), -1)
    if np.issubdtype(flat.dtype, np.floating):
        flat = np.nan_to_num(flat, nan=0.0, posinf=0.0, neginf=0.0)
    return np.asarray(flat.max(axis=1) == flat.min(axis=1))


def as_float(frames: NDArray[Any]) -> NDArray[np.float32]:
    """Native float32 of any dtype a file may hold; what is not finite becomes 0."""
    if np.iscomplexobj(frames):
        frames = np.abs(frames)
    frames = np.asarray(frames, dtype=np.float32)
    if not np.isfinite(frames).all():
        frames = np.nan_to_num(frames, nan=0.0, posinf=0.0, neginf=0.0)
    return np.ascontiguousarray(frames)
