"""A network over many patterns: in batches as large as is fast and fits, one network a device."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from napari_diffmap.errors import ResourceError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

#: Patterns in the first batch.
_FIRST = 16
#: Twice as many at once must be faster by this factor, else they only take memory.
_GAIN = 1.1
#: Share of a GPU's free memory that a batch may take.
_SHARE = 0.8
#: Off CUDA a batch that is too large is not refused: the computer swaps, or ends the program.
_MOST: Mapping[str, int] = {"cpu": 256, "mps": 1024}
_MOST_BYTES = 64 << 20
#: What torch says in a plain `RuntimeError` when memory ran out.
_NO_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")

_guard = threading.Lock()
_locks: dict[str, threading.RLock] = {}


def device_lock(device: str | torch.device) -> threading.RLock:
    """What a thread holds while a network runs on a device; ``cuda`` is its current GPU.

    A thread may take it again, so that a network can run another one.
    """
    import torch

    device = torch.device(device)
    index = device.index
    if index is None:
        index = torch.cuda.current_device() if device.type == "cuda" else 0
    with _guard:
        return _locks.setdefault(f"{device.type}:{index}", threading.RLock())


class BatchSize:
    """How many patterns at once are fastest, learnt from the batches that are run.

    Parameters
    ----------
    most
        Never more than these.

    Attributes
    ----------
    now
        The next batch.
    settled
        Whether that is found.
    """

    def __init__(self, most: int) -> None:
        self.most = max(1, most)
        self.now = min(_FIRST, self.most)
        self.settled = self.now == self.most
        self._best = 0.0
        self._warm = False

    @classmethod
    def fixed(cls, count: int) -> BatchSize:
        """So many, unless memory does not hold them."""
        size = cls(count)
        size.now, size.settled = count, True
        return size

    def measured(self, count: int, seconds: float, room: bool = True) -> None:
        """Note how long a batch took; `room` is whether memory holds one twice as large."""
        if self.settled or count != self.now:
            return
        if not self._warm:  # the first batch of a size also chooses kernels and takes memory
            self._warm = True
            return
        rate = count / max(seconds, 1e-9)
        if rate < _GAIN * self._best:
            self.now //= 2
            self.settled = True
        elif not room or 2 * self.now > self.most:
            self.settled = True
        else:
            self._best, self._warm = rate, False
            self.now *= 2

    def too_large(self, count: int) -> None:
        """Note that memory did not hold a batch: from now on half of it."""
        self.now = max(1, count // 2)
        self.settled = True


class Runner:
    """Runs a network over any number of patterns.

    Parameters
    ----------
    network
        Is moved to the device and put in the mode for answers, in place.
    device
        As `device.resolve_device` gives it.
    mixed
        Compute in half precision; None is yes.  On CUDA only, whose matrix units are several times
        faster so: processors and Apple's GPUs gain little or lose, and would round for nothing.
    most
        Patterns at once.
    piece
        Batches of exactly so many patterns, filled up with zeros, and no probing: sums round
        with the size of a batch, and here answers must not depend on how patterns are cut.
        Threads run such batches side by side.
    """

    def __init__(
        self,
        network: nn.Module,
        device: str | torch.device,
        *,
        mixed: bool | None = None,
        most: int = 4096,
        piece: int | None = None,
    ) -> None:
        import torch

        self.device, self.piece = torch.device(device), piece
        self.mixed = self.device.type == "cuda" and mixed is not False
        self.most = min(most, _MOST.get(self.device.type, most))
        with device_lock(self.device):
            try:
                self.network = network.to(self.device).eval()
            except (RuntimeError, MemoryError) as error:
                if not _is_memory(error):
                    raise
                raise self._no_room("the model") from error
        #: For patterns of each size: what is fast for small ones does not fit for large ones.
        self._sizes: dict[tuple[torch.Size, ...], BatchSize] = {}

    def run(self, inputs: Tensor | tuple[Tensor, ...]) -> Any:
        """What the network says of every pattern.

        Parameters
        ----------
        inputs
            The first axis counts patterns; of several inputs it has the same length.

        Returns
        -------
        Tensor or tuple or dict of Tensor
            As the network gives it for one batch, where the inputs lie; half precision is
            widened to single.

        Raises
        ------
        ResourceError
            If memory does not hold one pattern.
        """
        given = inputs if isinstance(inputs, tuple) else (inputs,)
        if len({len(each) for each in given}) != 1:
            raise ValueError(f"inputs of {[len(each) for each in given]} patterns")
        # Pieces are for processors, where the threads of a map each run their own.
        with contextlib.nullcontext() if self.piece is not None else device_lock(self.device):
            return self._run(given)

    def _run(self, given: tuple[Tensor, ...]) -> Any:
        count, begin, kept = len(given[0]), 0, _Kept(len(given[0]), given[0].device)
        size = self._size(given)
        while begin < count or kept.kind is None:  # no pattern, too, makes an answer
            now = size.now  # another thread may halve it
            step = min(now, count - begin)
            batch = [each[begin : begin + step] for each in given]
            if self.piece is not None:
                batch = [_filled(each, now) for each in batch]
            if self._fits(batch, size, kept, begin):
                begin += step
                continue
            # Here, not where the error is caught: it holds on to what the batch took.
            if step <= 1:
                raise self._no_room("one pattern")
            size.too_large(step)
            self._release()
        return kept.output()

    def _size(self, given: tuple[Tensor, ...]) -> BatchSize:
        shapes = tuple(each.shape[1:] for each in given)
        if shapes not in self._sizes:
            if self.piece is not None:
                self._sizes[shapes] = BatchSize.fixed(self.piece)
                return self._sizes[shapes]
            most = self.most
            if self.device.type != "cuda":
                one = sum(math.prod(each.shape[1:]) * each.element_size() for each in given)
                most = min(most, _MOST_BYTES // max(one, 1))
            self._sizes[shapes] = BatchSize(most)
        return self._sizes[shapes]

    def _fits(self, batch: list[Tensor], size: BatchSize, kept: _Kept, begin: int) -> bool:
        """Run a batch and keep what it gives; False where memory does not hold it."""
        import torch

        probing = not size.settled
        taken = self._begin_probe() if probing else 0
        start = time.perf_counter()
        try:
            with torch.inference_mode(), self._precision():
                found = self.network(*(each.to(self.device) for each in batch))
            # Outside of inference mode: who refines the answers needs gradients of them.
            kept.keep(found, begin)
        except (RuntimeError, MemoryError) as error:
            if not _is_memory(error):
                raise
            return False
        if probing:
            room = self._end_probe(taken)
            size.measured(len(batch[0]), time.perf_counter() - start, room)
        return True

    @contextlib.contextmanager
    def _precision(self) -> Iterator[None]:
        if not self.mixed:
            yield
            return
        import torch

        # bfloat16 cannot overflow, but GPUs before Ampere only emulate it.
        modern = torch.cuda.get_device_capability(self.device) >= (8, 0)
        with torch.autocast("cuda", dtype=torch.bfloat16 if modern else torch.float16):
            yield

    def _begin_probe(self) -> int:
        """Wait for what runs; the bytes taken on the device."""
        import torch

        self._wait()
        if self.device.type != "cuda":
            return 0
        torch.cuda.reset_peak_memory_stats(self.device)
        return torch.cuda.memory_allocated(self.device)

    def _end_probe(self, taken: int) -> bool:
        """Wait for the batch; whether one twice as large fits."""
        import torch

        self._wait()
        if self.device.type != "cuda":
            return True
        batch = torch.cuda.max_memory_allocated(self.device) - taken
        free, _ = torch.cuda.mem_get_info(self.device)
        kept_back = torch.cuda.memory_reserved(self.device) - torch.cuda.memory_allocated(
            self.device
        )
        return 2 * batch <= _SHARE * (free + kept_back)

    def _wait(self) -> None:
        import torch

        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif self.device.type == "mps":
            torch.mps.synchronize()

    def _release(self) -> None:
        """Give back what torch keeps for later: in pieces that do not fit it only takes room."""
        import torch

        if self.device.type == "cuda":
            with torch.cuda.device(self.device):
                torch.cuda.empty_cache()
        elif self.device.type == "mps":
            torch.mps.empty_cache()

    def _no_room(self, what: str) -> ResourceError:
        mend = "choose the cpu" if self.device.type != "cpu" else "choose a smaller model"
        return ResourceError(
            f"{self.device} has no memory for {what}: close what else uses it, or {mend}"
        )


class _Kept:
    """Answers of all patterns, filled batch by batch."""

    def __init__(self, count: int, home: torch.device) -> None:
        self.kind: type | None = None
        self._count = count
        self._home = home
        self._tensors: dict[Any, Tensor] = {}

    def keep(self, found: Any, begin: int) -> None:
        """Put answers of a batch in their place."""
        import torch

        half = (torch.float16, torch.bfloat16)
        parts = _by_name(found)
        if self.kind is None:
            self._tensors = {
                name: torch.empty(
                    (self._count, *part.shape[1:]),
                    dtype=torch.float32 if part.dtype in half else part.dtype,
                    device=self._home,
                )
                for name, part in parts.items()
            }
            self.kind = type(found)
        for name, part in parts.items():
            place = self._tensors[name][begin : begin + len(part)]
            place.copy_(part[: len(place)])

    def output(self) -> Any:
        """In the form that the network gave."""
        assert self.kind is not None
        if issubclass(self.kind, Mapping):
            return self._tensors
        if issubclass(self.kind, tuple):
            return tuple(self._tensors.values())
        return self._tensors[0]


def _filled(given: Tensor, count: int) -> Tensor:
    """With patterns of zeros behind, so many in all."""
    import torch

    more = given.new_zeros(count - len(given), *given.shape[1:])
    return torch.cat((given, more)) if len(more) else given


def _by_name(found: Any) -> dict[Any, Tensor]:
    if isinstance(found, Mapping):
        return dict(found)
    return dict(enumerate(found if isinstance(found, tuple) else (found,)))


def _is_memory(error: Exception) -> bool:
    """Whether memory ran out; where it is not a GPU's, torch says so only in words."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return any(words in str(error).lower() for words in _NO_MEMORY)
