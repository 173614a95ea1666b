"""Choosing a device: what torch has, by the name a user gives."""

from __future__ import annotations

import os
import sys
from functools import lru_cache

from napari_diffmap.errors import BadInputError

#: Which device virtual detectors use.
DEVICE_VARIABLE = "DIFFMAP_DEVICE"


@lru_cache(maxsize=1)
def best_device() -> str:
    """``cuda`` when torch sees a GPU, else ``cpu``."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


@lru_cache(maxsize=1)
def best_network_device() -> str:
    """``cuda`` when torch sees such a GPU, ``mps`` when it sees one of Apple's, else ``cpu``."""
    import torch

    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_device(name: str, *, network: bool = False) -> str:
    """A device torch has.

    Parameters
    ----------
    name
        ``auto``, ``cpu``, ``cuda`` or ``cuda:N``, for a network also ``mps``.
    network
        Whether only a network runs there.  Everything else here needs double precision, which
        Apple's GPUs lack.

    Raises
    ------
    BadInputError
        If torch has no such device here.
    """
    import torch

    if name == "auto":
        return best_network_device() if network else best_device()
    choice = "auto, cpu, cuda, cuda:N or mps" if network else "auto, cpu, cuda or cuda:N"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise BadInputError(f"no device {name!r}: give {choice}") from error
    if device.type == "cuda" and (
        not torch.cuda.is_available() or (device.index or 0) >= torch.cuda.device_count()
    ):
        raise BadInputError(f"no device {name!r} on this machine: give cpu or auto")
    if device.type == "mps" and not network:
        raise BadInputError(f"device {name!r} is for networks only: give {choice}")
    if device.type == "mps" and (device.index or not torch.backends.mps.is_available()):
        raise BadInputError(f"no device {name!r} on this machine: give cpu or auto")
    if device.type not in ("cpu", "cuda", "mps"):
        raise BadInputError(f"device {name!r} is not supported: give {choice}")
    return name


def device_label(name: str) -> str:
    """The device in words, for a summary: ``cuda (NVIDIA H100)`` or ``cpu (2 threads)``."""
    import torch

    if name.startswith("mps"):
        return f"{name} (Apple GPU)"
    if name.startswith("cuda"):
        return f"{name} ({torch.cuda.get_device_name(torch.device(name))})"
    threads = torch.get_num_threads()
    return f"cpu ({threads} thread{'' if threads == 1 else 's'})"


def device_for_sums() -> str | None:
    """The GPU that virtual detectors may use, or None: they stay on the processor.

    ``DIFFMAP_DEVICE`` (``cpu``, ``cuda`` or ``cuda:N``) says which.  Without it a GPU is used
    once a model has loaded torch: to load it takes seconds in which no window answers, more
    than the sums ever save.

    Raises
    ------
    BadInputError
        If ``DIFFMAP_DEVICE`` names a device that is not there.
    """
    said = os.environ.get(DEVICE_VARIABLE, "").strip()
    if said == "cpu" or (said in ("", "auto") and "torch" not in sys.modules):
        return None
    device = resolve_device(said or "auto")
    return device if device.startswith("cuda") else None
