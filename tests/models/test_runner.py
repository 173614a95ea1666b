"""Networks in batches: the size that is found, memory that runs out, one at a time a device."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_diffmap.errors import BadInputError, ResourceError
from napari_diffmap.jobs.queue import submit
from napari_diffmap.models import device, runner
from napari_diffmap.models.runner import BatchSize, Runner, device_lock

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
DEVICES = ["cpu", pytest.param("cuda", marks=CUDA)]


class Small(torch.nn.Module):
    """Convolution, normalisation, dropout and two heads; notes the batches it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(1, 4, 3, stride=2),
            torch.nn.BatchNorm2d(4),
            torch.nn.GELU(),
            torch.nn.Dropout(0.5),
            torch.nn.Flatten(),
            torch.nn.LazyLinear(7),
        )
        self.body(torch.randn(8, 1, 12, 12))
        self.seen: list[int] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append(len(image))
        return self.body(image)


class Limited(Small):
    """Has memory for so many patterns."""

    def __init__(self, most: int, error: Exception) -> None:
        super().__init__()
        self.most = most
        self.error = error

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        if len(image) > self.most:
            self.seen.append(len(image))
            raise self.error
        return super().forward(image)


def images(count: int) -> torch.Tensor:
    return torch.randn(count, 1, 12, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def small() -> Small:
    torch.manual_seed(0)
    return Small()


@settings(deadline=None, max_examples=25)
@given(count=st.integers(0, 90), batch=st.integers(1, 40))
def test_the_batch_makes_no_difference(small, count, batch):
    runner = Runner(small, "cpu", most=batch)
    small.seen.clear()
    found = runner.run(images(count))
    assert max(small.seen) <= batch
    assert sum(small.seen) == count
    with torch.no_grad():
        expected = small.eval()(images(count))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", DEVICES)
def test_answers_are_where_the_inputs_are_and_can_be_refined(name):
    torch.manual_seed(0)
    network = Small().train()
    runner = Runner(network, name, mixed=False)
    with device_lock(name):  # a thread may hold it already
        found = runner.run(images(50))
    assert found.device.type == "cpu"
    assert not network.training
    assert found.shape == (50, 7)
    # Tensors of inference mode would refuse this.
    turn = torch.zeros(7, requires_grad=True)
    (found * turn).sum().backward()
    torch.testing.assert_close(turn.grad, found.sum(0))


class Pair(torch.nn.Module):
    """Two inputs; a form for its answers."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self.form = form

    def forward(self, a: torch.Tensor, b: torch.Tensor) -> object:
        total, best = a + b[:, None], a.argmax(dim=1)
        if self.form == "tensor":
            return total
        return {"total": total, "best": best} if self.form == "dict" else (total, best)


@pytest.mark.parametrize("form", ["tensor", "tuple", "dict"])
def test_several_inputs_and_outputs(form):
    a, b = torch.rand(21, 3), torch.rand(21)
    found = Runner(Pair(form), "cpu", most=4).run((a, b))
    assert type(found) is type(Pair(form)(a, b))
    parts = {"tensor": lambda: (found,), "tuple": lambda: found, "dict": lambda: found.values()}
    total, *best = parts[form]()
    assert torch.equal(total, a + b[:, None])
    if best:
        assert torch.equal(best[0], a.argmax(1))
        assert best[0].dtype == torch.int64
    with pytest.raises(ValueError, match=r"\[21, 20\]"):
        Runner(Pair(form), "cpu").run((a, b[1:]))


def test_half_precision_is_widened():
    found = Runner(torch.nn.Linear(3, 2).to(torch.bfloat16), "cpu").run(
        torch.ones(5, 3, dtype=torch.bfloat16)
    )
    assert found.dtype == torch.float32


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        MemoryError(),
    ],
)
def test_memory_that_runs_out_halves_the_batch(error):
    network = Limited(5, error)
    runner = Runner(network, "cpu")
    found = runner.run(images(43))
    assert network.seen[:4] == [16, 8, 4, 4]
    with torch.no_grad():
        expected = network.body(images(43))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    network.seen.clear()
    runner.run(images(20))
    assert network.seen == [4] * 5  # remembered


def test_memory_that_runs_out_later_loses_nothing(monkeypatch):
    monkeypatch.setattr(runner, "_GAIN", 0.0)  # as if larger were always faster
    network = Limited(100, MemoryError())
    found = Runner(network, "cpu", most=4096).run(images(600))
    assert 128 in network.seen
    assert network.seen[-1] <= 64
    with torch.no_grad():
        torch.testing.assert_close(found, network.body(images(600)), atol=1e-5, rtol=1e-5)


def test_what_the_allocator_really_says():
    class Greedy(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if len(image) > 2:
                torch.empty(1 << 55)
            return image.sum(dim=(1, 2, 3))

    found = Runner(Greedy(), "cpu").run(images(9))
    assert torch.equal(found, images(9).sum(dim=(1, 2, 3)))


def test_no_memory_for_one_pattern_is_one_clear_error():
    network = Limited(0, MemoryError())
    with pytest.raises(ResourceError, match="cpu has no memory for one pattern: ") as caught:
        Runner(network, "cpu").run(images(6))
    assert network.seen == [6, 3, 1]
    assert "\n" not in str(caught.value)


def test_other_errors_stay_what_they_are():
    with pytest.raises(RuntimeError, match="shapes"):
        Runner(Small(), "cpu").run(torch.zeros(3, 1, 30, 30))
    with pytest.raises(ZeroDivisionError):
        Runner(Limited(0, ZeroDivisionError()), "cpu").run(images(3))


def test_pieces_of_one_size_whatever_the_cut(small):
    """Sums round with the size of a batch: every pattern is in one of the same size."""
    runner, given = Runner(small, "cpu", piece=8), images(21)
    small.seen.clear()
    whole = runner.run(given)
    assert small.seen == [8, 8, 8]
    cut = [runner.run(part) for part in given.split(5)]
    assert torch.equal(torch.cat(cut), whole)
    assert len(runner.run(given[:0])) == 0


def test_threads_run_pieces_side_by_side():
    """Each waits for the other within the network: under one lock neither would arrive."""
    both = threading.Barrier(2, timeout=30)

    class Meeting(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            both.wait()
            return image.sum((1, 2, 3))

    runner = Runner(Meeting(), "cpu", piece=8)
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(runner.run, [images(8), images(5)]))
    assert torch.equal(found[0][:5], found[1])


def test_a_piece_that_does_not_fit_is_halved():
    network = Limited(5, MemoryError())
    assert len(Runner(network, "cpu", piece=8).run(images(21))) == 21


def settle(size: BatchSize, rate) -> list[int]:
    """Feed batches with a speed until the size is found."""
    sizes = []
    while not size.settled:
        sizes.append(size.now)
        size.measured(size.now, size.now / rate(size.now))
    return sizes


def test_the_size_doubles_while_it_pays():
    size = BatchSize(4096)
    # Each size twice: the first time also pays for choosing kernels.
    tried = settle(size, lambda count: min(count, 128))
    assert tried == [16, 16, 32, 32, 64, 64, 128, 128, 256, 256]
    assert size.now == 128
    size.measured(128, 1e-9)
    assert size.now == 128


def test_the_size_stays_within_its_bounds():
    size = BatchSize(100)
    settle(size, lambda count: count)
    assert size.now == 64
    assert BatchSize(5).now == 5
    size = BatchSize(4096)
    while not size.settled:
        size.measured(size.now, 1e-3, room=size.now < 64)
    assert size.now == 64


def test_a_part_of_a_batch_is_no_measure():
    size = BatchSize(4096)
    for _ in range(9):
        size.measured(7, 1e-9)
    assert size.now == 16


def test_large_patterns_go_in_smaller_batches_on_the_processor():
    class Sizes(torch.nn.Module):
        seen: list[int] = []  # noqa: RUF012

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.seen.append(len(image))
            return image[:, 0, 0]

    network = Sizes()
    found = Runner(network, "cpu").run(torch.zeros(1, 2048, 2048).expand(9, -1, -1))
    assert len(found) == 9
    assert max(network.seen) == 4  # 16 MB each


class Busy(torch.nn.Module):
    """Notes how many run at once."""

    def __init__(self) -> None:
        super().__init__()
        self.running = 0
        self.peak = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.running += 1
        self.peak = max(self.peak, self.running)
        time.sleep(0.005)
        self.running -= 1
        return image


def test_two_runners_never_share_a_device():
    network = Busy()
    runners = [Runner(network, name, most=4) for name in ("cpu", "cpu:0")]
    barrier = threading.Barrier(2)

    def work(runner: Runner) -> None:
        barrier.wait()
        runner.run(torch.zeros(40, 1))

    threads = [threading.Thread(target=work, args=(each,)) for each in runners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not any(thread.is_alive() for thread in threads)
    assert network.peak == 1


def test_the_queue_of_the_device_may_run_networks(small):
    network = Runner(small, "cpu")

    class Outer(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return network.run(image)

    futures = [submit("cpu", lambda: Runner(Outer(), "cpu").run(images(5))) for _ in range(3)]
    for future in futures:
        assert future.result(timeout=30).shape == (5, 7)


def test_mixed_precision_is_for_cuda_only(small):
    assert not Runner(small, "cpu").mixed
    assert not Runner(small, "cpu", mixed=True).mixed


@CUDA
def test_mixed_precision_on_a_gpu():
    torch.manual_seed(0)
    network = Small()
    exact = Runner(network, "cuda", mixed=False).run(images(300))
    mixed = Runner(network, "cuda").run(images(300))
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    torch.testing.assert_close(mixed, exact, atol=0.05, rtol=0.05)


@CUDA
def test_a_gpu_that_is_full():
    class Greedy(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            each = torch.cuda.get_device_properties(0).total_memory // 10
            torch.empty(len(image) * each, dtype=torch.uint8, device=image.device)
            return image.mean(dim=(1, 2, 3))

    found = Runner(Greedy(), "cuda").run(images(40))
    torch.testing.assert_close(found, images(40).mean(dim=(1, 2, 3)))


@pytest.fixture
def apple(monkeypatch):
    """As on a computer of Apple's."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    device.best_device.cache_clear()
    device.best_network_device.cache_clear()
    yield
    device.best_device.cache_clear()
    device.best_network_device.cache_clear()


@pytest.mark.usefixtures("apple")
def test_only_networks_run_on_apples_gpus():
    assert device.resolve_device("auto", network=True) == "mps"
    assert device.resolve_device("mps", network=True) == "mps"
    assert device.resolve_device("auto") == "cpu"
    with pytest.raises(BadInputError, match="for networks only: give auto, cpu, cuda or cuda:N"):
        device.resolve_device("mps")
    assert device.device_label("mps") == "mps (Apple GPU)"


def test_a_device_that_is_not_there(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for name in ("mps", "cuda:99"):
        with pytest.raises(BadInputError, match="on this machine"):
            device.resolve_device(name, network=True)
    for name in ("tpu", "meta"):
        with pytest.raises(BadInputError, match="auto, cpu, cuda, cuda:N or mps"):
            device.resolve_device(name, network=True)
