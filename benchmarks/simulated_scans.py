"""Simulated scans of many kinds with known truth, for fitting and judging the matcher."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import dask.array as da
import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.crystal.bloch import Potential, dynamical_spots, potential
from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.crystal.reflections import reflections
from napari_diffmap.crystal.simulate import spots
from napari_diffmap.scan.axes import Axis
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.scan import Scan

#: Phases of the library, and the phases the sample is made of.
MIXTURES = (
    (("LiNiO2", "NiO"), ("LiNiO2", "NiO")),
    (("LiNiO2",), ("LiNiO2",)),
    (("LiNiO2", "NiO"), ("LiNiO2",)),
    (("Fe-bcc", "Fe-fcc"), ("Fe-bcc", "Fe-fcc")),
    (("WS2",), ("WS2",)),
    (("Si",), ("Si",)),
    (("Au",), ("Au",)),
    (("NiO", "Al"), ("NiO",)),
)
#: Phases mixed in that no library holds.
STRANGERS = ("Si", "WS2", "Fe-bcc", "LiNiO2")
SIZE = 128


@dataclass(frozen=True)
class Conditions:
    """How a scan was 'measured'; drawn at random."""

    library: tuple[str, ...]
    made_of: tuple[str, ...]
    dynamical: bool
    voltage_kv: float
    pixel_size: float
    scale_error: float
    sigma: float
    level: float
    jitter: float
    dose: float
    background: float
    psf: float


@dataclass(frozen=True, eq=False)
class Truth:
    """What each pattern is: phase index in the library (-1: none of them) and rotation."""

    phase: NDArray[np.int64]
    rotation: NDArray[np.float64]
    share: NDArray[np.float64]


def draw_conditions(rng: np.random.Generator, index: int) -> Conditions:
    """Random but plausible conditions."""
    library, made_of = MIXTURES[index % len(MIXTURES)]
    return Conditions(
        library=library,
        made_of=made_of,
        dynamical=bool((index // len(MIXTURES)) % 2),
        voltage_kv=float(rng.choice([80, 200, 300])),
        pixel_size=float(rng.uniform(0.016, 0.024)),
        scale_error=float(rng.normal(0, 0.006)),
        sigma=float(np.exp(rng.uniform(np.log(0.006), np.log(0.03)))),
        level=float(rng.uniform(0.3, 1.0)),
        jitter=float(rng.uniform(0, 0.8)),
        dose=float(np.exp(rng.uniform(np.log(300), np.log(20_000)))),
        background=float(np.exp(rng.uniform(np.log(0.02), np.log(0.6)))),
        psf=float(rng.uniform(0.8, 1.8)),
    )


def make_scan(
    rng: np.random.Generator, conditions: Conditions, patterns: int
) -> tuple[Scan, Truth, tuple[CrystalPhase, ...]]:
    """A scan of one row of `patterns` patterns, its truth and the library's phases."""
    c = conditions
    library = load_phases(c.library)
    center = SIZE / 2 - 0.5 + rng.normal(0, 0.6, 2)
    images = np.empty((1, patterns, SIZE, SIZE), dtype=np.uint16)
    phase = np.full(patterns, -1)
    rotation = np.tile([1.0, 0, 0, 0], (patterns, 1))
    share = np.zeros(patterns)
    strangers = [name for name in STRANGERS if name not in c.library]
    for i in range(patterns):
        kind = rng.choice(["one", "two", "stranger", "amorphous"], p=[0.66, 0.18, 0.08, 0.08])
        expected = _background(c, center, carbon=kind == "amorphous")
        if kind != "amorphous":
            name = rng.choice(strangers if kind == "stranger" else c.made_of)
            q = _random_rotation(rng)
            if kind == "two":
                share[i] = rng.uniform(0.08, 0.45)
                other = str(rng.choice(c.made_of))
                second = _crystal(rng, c, other, _random_rotation(rng), center)
                expected += share[i] * second
            expected += (1 - share[i]) * _crystal(rng, c, str(name), q, center)
            if kind != "stranger":
                phase[i], rotation[i] = c.library.index(str(name)), q
        images[0, i] = np.minimum(rng.poisson(expected), 65535)
    calibration = Calibration(
        center=None,
        pixel_size=c.pixel_size * (1 + c.scale_error),
        voltage_kv=c.voltage_kv,
        pixel_size_origin="file",
        voltage_origin="file",
    )
    axes = (Axis("y", 1), Axis("x", patterns), Axis("ky", SIZE), Axis("kx", SIZE))
    data = da.from_array(images, chunks=(1, 64, SIZE, SIZE))
    scan = Scan(data, axes, "4D-STEM", "simulated", calibration=calibration)
    return scan, Truth(phase, rotation, share), library


def _random_rotation(rng: np.random.Generator) -> NDArray[np.float64]:
    q = rng.normal(size=4)
    return q / np.linalg.norm(q)


def _crystal(
    rng: np.random.Generator,
    c: Conditions,
    name: str,
    q: NDArray[np.float64],
    center: NDArray[np.float64],
) -> NDArray[np.float64]:
    """Expected counts of one crystal, `dose` in all, less what leaves the detector."""
    phase = load_phases([name])[0]
    q_max = 0.5 * SIZE * c.pixel_size * 1.05
    if c.dynamical:
        found = reflections(phase, q_max)
        thickness = torch.tensor([rng.uniform(80, 700)], dtype=torch.float32)
        drawn = dynamical_spots(
            _potential(phase, q_max, c.voltage_kv),
            found,
            torch.as_tensor(q[None], dtype=torch.float32),
            thickness,
            beams=120,
        )
        intensity = drawn.intensity[0].numpy().astype(np.float64)
    else:
        drawn = spots(reflections(phase, q_max), q[None], c.voltage_kv, c.sigma)
        intensity = drawn.intensity[0].numpy().astype(np.float64) ** c.level
        intensity *= np.exp(rng.normal(0, c.jitter, intensity.shape))
    kx, ky = drawn.kx[0].numpy(), drawn.ky[0].numpy()
    total = intensity.sum()
    if not total > 0:
        return np.zeros((SIZE, SIZE))
    return _draw(kx, ky, c.dose * intensity / total, c, center)


@lru_cache(maxsize=8)
def _potential(phase: CrystalPhase, q_max: float, voltage_kv: float) -> Potential:
    return potential(phase, reflections(phase, q_max), voltage_kv)


def _draw(kx, ky, counts, c: Conditions, center: NDArray[np.float64]) -> NDArray[np.float64]:
    y = (np.arange(SIZE)[None] - (ky / c.pixel_size + center[0])[:, None]) / c.psf
    x = (np.arange(SIZE)[None] - (kx / c.pixel_size + center[1])[:, None]) / c.psf
    wy, wx = np.exp(-0.5 * y**2), np.exp(-0.5 * x**2)
    return np.einsum("s,sy,sx->yx", counts / (2 * np.pi * c.psf**2), wy, wx)


def _background(c: Conditions, center: NDArray[np.float64], *, carbon: bool) -> NDArray[np.float64]:
    y, x = np.arange(SIZE) - center[0], np.arange(SIZE) - center[1]
    r = np.hypot(y[:, None], x[None])
    q = r * c.pixel_size
    beam = 4000 * np.exp(-0.5 * (r / (1.2 * c.psf)) ** 2)
    diffuse = c.background * np.exp(-q / 0.3) + 0.01
    halo = 0.0
    if carbon:
        halo = 4 * c.background * np.exp(-0.5 * ((q - 0.48) / 0.06) ** 2)
    return beam + diffuse + halo
