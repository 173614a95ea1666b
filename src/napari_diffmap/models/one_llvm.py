"""Parts of torch that import triton, in a process that holds another LLVM already.

Optimisers and timm import torch's compiler, and that imports triton, which brings an LLVM of its
own.  Where a window is drawn through Mesa's LLVM (any Linux without a graphics card, AMD cards
too) the process ends there with a segmentation fault.  Nothing here compiles, so triton is not
missed.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_MAPS = Path("/proc/self/maps")


def other_llvm() -> bool:
    """Whether a shared LLVM is loaded, as Mesa's drivers do."""
    try:
        return "libLLVM" in _MAPS.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False  # no Linux: triton is not there either


@contextmanager
def one_llvm() -> Iterator[None]:
    """Import what would import triton; it looks not installed where it would end the process."""
    if "triton" in sys.modules or not other_llvm():
        yield
        return
    sys.modules["triton"] = None  # type: ignore[assignment]  # how Python says: not there
    try:
        yield
    finally:
        sys.modules.pop("triton", None)
