"""Fixtures shared by every room."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

_CRASHED = pytest.StashKey[bool]()


def pytest_configure(config: pytest.Config) -> None:
    """Give each of several test processes a display of its own: they would move one pointer."""
    if not hasattr(config, "workerinput") or not shutil.which("Xvfb"):
        return
    read, write = os.pipe()
    screen = ("-screen", "0", "1600x1000x24", "+extension", "GLX", "-nolisten", "tcp")
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(write), *screen],
        pass_fds=[write],
        stderr=subprocess.DEVNULL,
    )
    os.close(write)
    with os.fdopen(read) as told:
        number = told.readline().strip()
    if not number:  # it could not start: the display there is serves as well as it can
        return
    os.environ["DISPLAY"] = f":{number}"

    def end() -> None:
        server.terminate()
        server.wait()

    config.add_cleanup(end)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """Note that a process of the run died."""
    if error:
        node.config.stash[_CRASHED] = True


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """A run whose processes all died has passed nothing, whatever its status says."""
    if session.config.stash.get(_CRASHED, False) and not session.exitstatus:
        session.exitstatus = pytest.ExitCode.INTERNAL_ERROR


class TooSlow(AssertionError):
    """It took longer than it may: by others at work on the machine, or by itself, always."""


#: What `_work` takes on the two cores that the figures of the docs were measured on (s).
_QUIET = 0.012


def _work() -> float:
    start = time.thread_time()
    table = {str(i): i for i in range(60_000)}
    assert sum(table.values()) == sum(range(60_000))
    return time.thread_time() - start


@pytest.fixture(scope="session")
def slowness() -> Callable[[], float]:
    """How many times slower than when the figures of the docs were measured; 1 at least."""
    return lambda: max(1.0, *(_work() / _QUIET for _ in range(3)))


@pytest.fixture(scope="session")
def too_slow() -> Callable[[str], TooSlow]:
    """Make the error after which a test is measured again, three times at most."""
    return TooSlow


@pytest.fixture
def within(slowness: Callable[[], float]) -> Callable[[float], AbstractContextManager[None]]:
    """A block that takes less than so many seconds, on a machine of the usual pace."""

    @contextmanager
    def block(seconds: float) -> Generator[None]:
        before, start = slowness(), time.perf_counter()
        yield
        took = time.perf_counter() - start
        pace = max(before, slowness())
        if took >= seconds * pace:
            raise TooSlow(f"{took:.3f} s, not {seconds:g}, on a machine {pace:.1f} times slower")

    return block


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of measured data; tests that need it skip where it is absent."""
    root = Path(__file__).resolve().parents[1]
    folder = Path(os.environ.get("DIFFMAP_TEST_DATA", root.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("measured data absent: set DIFFMAP_TEST_DATA to the folder that holds it")
    return folder


@pytest.fixture(autouse=True)
def models_folder(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """Models that a test adds are kept in a folder of its own; the user's are not seen."""
    folder = tmp_path_factory.mktemp("models")
    monkeypatch.setenv("DIFFMAP_MODELS", str(folder))
    return folder


@pytest.fixture(scope="session")
def flat_map() -> Callable[[tuple[int, int]], Any]:
    """Makes maps of one LiNiO2 answer everywhere; NiO is known, too."""
    import numpy as np

    from napari_diffmap.crystal.phases import load_phases
    from napari_diffmap.maps import OrientationMap

    phases = load_phases(["LiNiO2", "NiO"])

    def make(shape: tuple[int, int]) -> OrientationMap:
        rotations = np.zeros((*shape, 1, 4), dtype=np.float32)
        rotations[..., 0] = 1
        return OrientationMap(
            rotations=rotations,
            scores=np.ones((*shape, 1), np.float32),
            phase_ids=np.zeros((*shape, 1), np.int16),
            reliability=np.ones(shape, np.float32),
            ambiguity=np.zeros(shape, np.uint8),
            phases=phases,
        )

    return make


@pytest.fixture(scope="session")
def make_spectral() -> Callable[..., Any]:
    """Makes spectral maps up: phases in vertical bands, every cause of doubt, rows without data.

    The first and the last row hold no data; keywords replace fields of the map.
    """
    import numpy as np

    from napari_diffmap.maps import SpectralDoubt, SpectralMap, SpectralPhase
    from napari_diffmap.maps.phases import PHASE_COLORS
    from napari_diffmap.maps.spectral_map import ranked_answers

    def references(count: int, compositions: bool) -> tuple[SpectralPhase, ...]:
        energies = np.linspace(512, 530, 40)
        peaks = [np.exp(-(((energies - 516 - 3 * i) / 2) ** 2)) for i in range(count)]
        return tuple(
            SpectralPhase(
                f"Na{i + 1}", PHASE_COLORS[i], energies, peak, i + 1.0 if compositions else None
            )
            for i, peak in enumerate(peaks)
        )

    def make(
        shape: tuple[int, int] = (12, 15),
        count: int = 3,
        *,
        seed: int = 0,
        compositions: bool = True,
        **changes: Any,
    ) -> SpectralMap:
        random = np.random.default_rng(seed)
        band = np.broadcast_to(np.arange(shape[1]) * count // shape[1], shape)
        correlations = random.uniform(0.6, 0.9, (*shape, count))
        np.put_along_axis(correlations, band[..., None], random.uniform(0.95, 1, (*shape, 1)), -1)
        fractions = random.uniform(0, 0.2, (*shape, count))
        np.put_along_axis(fractions, band[..., None], 1.0, -1)
        fractions /= fractions.sum(axis=-1, keepdims=True)
        doubt = np.zeros(shape, dtype=np.uint8)
        edge = np.diff(band, axis=1, prepend=band[:, :1]) != 0
        doubt[edge] = SpectralDoubt.TRANSITION
        doubt[2:4, 1:4] = SpectralDoubt.AMBIGUITY
        doubt[5:6, 1:3] = SpectralDoubt.FALSE_ASSIGNMENT
        doubt[7:8, 1:3] = SpectralDoubt.THIN
        doubt[9:10, 1:3] = SpectralDoubt.SATURATED
        away = np.zeros(shape, dtype=bool)
        away[0], away[-1] = True, True
        doubt[away] = SpectralDoubt.NO_DATA
        for values in (correlations, fractions):
            values[away] = np.nan
        options: dict[str, Any] = {
            **ranked_answers(correlations),
            "reliability": np.where(away, np.nan, random.uniform(0.5, 1, shape)),
            "ambiguity": doubt,
            "phases": references(count, compositions),
            "fractions": fractions,
            "fraction_errors": np.where(away[..., None], np.nan, 0.02 * np.ones_like(fractions)),
            "step": (40.0, 40.0),
            "step_unit": "nm",
        }
        return SpectralMap(**{**options, **changes})

    return make


@pytest.fixture(scope="session")
def defect_movie() -> Any:
    """The module `defect_movie` beside this file: a movie of known defects, who tells them."""
    import importlib.util
    import sys

    name = "defect_movie"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).parent / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


#: A training of seconds: what it learns is nothing, but all of it is real.
TINY: dict[str, Any] = {
    "name": "tiny",
    "title": "Tiny network",
    "phases": ["LiNiO2", "NiO"],
    "pool": 256,
    "held_out": 64,
    "options": {"width": 16, "depth": 1},
    "plan": {"steps": 12, "batch": 16, "validate_every": 4},
    "limits": ["knows next to nothing"],
}


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a model of LiNiO2 and NiO at 200 kV, trained in a few steps."""
    from napari_diffmap.jobs.train import train_model
    from napari_diffmap.methods.networks.recipe import training_recipe

    run = train_model(
        training_recipe(TINY), tmp_path_factory.mktemp("tiny") / "training", device="cpu"
    )
    assert run.model is not None
    return run.model


@pytest.fixture(autouse=True)
def state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unsaved corrections of a test are kept in a folder of its own."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("DIFFMAP_STATE", str(folder))
    return folder
