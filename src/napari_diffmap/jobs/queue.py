"""One queue a device: never two models on it at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

T = TypeVar("T")


@lru_cache(maxsize=8)
def _executor(device: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"diffmap-{device}")


def submit(device: str, work: Callable[[], T]) -> Future[T]:
    """Queue work on a device; it runs when what was queued before is done."""
    return _executor(device).submit(work)
