"""The bundled sample: a simulated polycrystal scan whose truth is known.

Layered LiNiO2 grains with a few NiO grains, seen at 200 kV: inclined grain
boundaries where two crystals overlap, a corner of vacuum and amorphous carbon,
lattice bending inside grains, thickness, background, counting noise, hot and
dead pixels, a drifting beam and a few spoilt frames.  Everything is seeded: the
same file is made everywhere.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.crystal.reflections import reflections

if TYPE_CHECKING:
    from pathlib import Path

    from napari_diffmap.scan.scan import Scan

#: Raised whenever the recipe changes, so that an old file in a cache is not taken.
VERSION = 1
PHASES = ("LiNiO2", "NiO")
SHAPE = (64, 64)
DETECTOR = (128, 128)
VOLTAGE_KV = 200.0
PIXEL_SIZE = 0.0225
STEP_NM = 4.0
CENTER = (63.2, 64.1)
#: Beam drift over the whole scan: change of (ky, kx) centre along y and along x, pixels.
DESCAN = ((0.9, -0.5), (0.4, 1.2))
SIGMA_EXCITATION = 0.012
PSF_SIGMA = 0.95

_GRAINS = 25
_SECOND_PHASE = (7, 18)
_Q_MAX = 1.42
_Q_STEP = 0.002


@dataclass(frozen=True, eq=False)
class SampleTruth:
    """What the bundled sample really is.

    Attributes
    ----------
    rotations
        ``(y, x, 4)`` unit quaternions, laboratory → crystal, of the stronger crystal.
    phase_ids
        ``(y, x)`` int16 index into `phases`; -1 in vacuum and amorphous carbon.
    grain_ids
        ``(y, x)`` int16; -1 where there is no crystal.
    second_rotations, second_phase_ids, second_share
        The weaker crystal where two overlap: ``(y, x, 4)``, ``(y, x)``, and its
        share of the diffracted intensity 0–0.5.
    overlap
        ``(y, x)`` bool: the weaker crystal makes at least a tenth.
    amorphous
        ``(y, x)`` bool: no crystal, amorphous carbon in the beam.
    bad
        ``(y, x)`` bool: the frame is empty or saturated.
    center
        ``(y, x, 2)`` true direct-beam position (ky, kx), pixels.
    phases
        Names of the bundled phases.
    """

    rotations: NDArray[np.float64]
    phase_ids: NDArray[np.int16]
    grain_ids: NDArray[np.int16]
    second_rotations: NDArray[np.float64]
    second_phase_ids: NDArray[np.int16]
    second_share: NDArray[np.float64]
    overlap: NDArray[np.bool_]
    amorphous: NDArray[np.bool_]
    bad: NDArray[np.bool_]
    center: NDArray[np.float64]
    phases: tuple[str, ...] = PHASES

    @property
    def single(self) -> NDArray[np.bool_]:
        """``(y, x)``: one crystal and a good frame."""
        return (self.phase_ids >= 0) & ~self.overlap & ~self.bad


def build_truth(seed: int = 20240607) -> SampleTruth:
    """Grains, orientations, overlaps and spoilt frames of the sample."""
    rng = np.random.default_rng(seed)
    y, x = np.meshgrid(*(np.arange(n, dtype=np.float64) for n in SHAPE), indexing="ij")
    first, second, share = _grains(rng, y, x)
    every = _bent_grains(rng, y, x)
    rows, columns = np.indices(SHAPE)
    rotations, others = every[first, rows, columns], every[second, rows, columns]
    phase_of = np.zeros(_GRAINS, dtype=np.int16)
    phase_of[list(_SECOND_PHASE)] = 1
    edge = 1.15 * (SHAPE[1] - x) + 0.9 * (SHAPE[0] - y) + 2.5 * np.sin(y / 6.0)
    empty = edge < 26
    amorphous = empty & (edge > 11)
    bad = np.zeros(SHAPE, dtype=bool)
    bad.flat[rng.choice(bad.size, 7, replace=False)] = True
    share = np.where(empty, 0.0, share)
    void = np.int16(-1)
    return SampleTruth(
        rotations=rotations,
        phase_ids=np.where(empty, void, phase_of[first]).astype(np.int16),
        grain_ids=np.where(empty, void, first).astype(np.int16),
        second_rotations=others,
        second_phase_ids=np.where(share > 0, phase_of[second], void).astype(np.int16),
        second_share=share,
        overlap=share >= 0.1,
        amorphous=amorphous,
        bad=bad,
        center=_centers(y, x),
    )


def _centers(y: NDArray[np.float64], x: NDArray[np.float64]) -> NDArray[np.float64]:
    fy, fx = y / (SHAPE[0] - 1) - 0.5, x / (SHAPE[1] - 1) - 0.5
    drift = [CENTER[i] + DESCAN[0][i] * fy + DESCAN[1][i] * fx for i in range(2)]
    return np.stack(drift, axis=-1)


def _grains(
    rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Stronger grain, weaker grain and the weaker one's share at every position."""
    grid = np.stack(np.meshgrid(np.arange(5), np.arange(5), indexing="ij"), -1).reshape(-1, 2)
    seeds = (grid + 0.5) * np.array(SHAPE) / 5 + rng.uniform(-4.2, 4.2, (_GRAINS, 2))
    # Bent boundaries: distances are measured from smoothly displaced positions.
    warp = [ndimage.gaussian_filter(rng.normal(size=SHAPE), 5) * 28 for _ in range(2)]
    distance = np.hypot(
        y[..., None] + warp[0][..., None] - seeds[:, 0],
        x[..., None] + warp[1][..., None] - seeds[:, 1],
    )
    order = np.argsort(distance, axis=-1)
    first, second = order[..., 0], order[..., 1]
    gap = np.diff(np.sort(distance, axis=-1)[..., :2], axis=-1)[..., 0] / 2
    # Each boundary has its own inclination: the width over which two crystals overlap.
    width = rng.choice([0.35, 0.35, 1.2, 2.2], size=(_GRAINS, _GRAINS))
    width = np.triu(width) + np.triu(width, 1).T
    share = np.clip(0.5 - gap / (2 * width[first, second]), 0.0, 0.5)
    return first, second, np.where(share < 0.02, 0.0, share)


def _random_rotations(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    q = rng.normal(size=(n, 4))
    return np.asarray(q / np.linalg.norm(q, axis=1, keepdims=True))


def _bent_grains(
    rng: np.random.Generator, y: NDArray[np.float64], x: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Orientation of every grain at every position, ``(grain, y, x, 4)``; about 1° of bending."""
    from orix.quaternion import Quaternion

    mean = _random_rotations(rng, _GRAINS)
    slope = np.deg2rad(rng.normal(0, 0.045, (_GRAINS, 3, 2)))  # degrees per position
    place = np.stack((y - SHAPE[0] / 2, x - SHAPE[1] / 2), axis=-1)
    bend = np.einsum("gij,yxj->gyxi", slope, place)
    ripple = ndimage.gaussian_filter(rng.normal(size=(3, *SHAPE)), (0, 3, 3))
    bend += np.deg2rad(0.35) * np.moveaxis(ripple / ripple.std(), 0, -1)
    angle = np.linalg.norm(bend, axis=-1, keepdims=True)
    turn = np.concatenate((np.cos(angle / 2), bend * np.sinc(angle / (2 * np.pi)) / 2), axis=-1)
    turned = Quaternion(mean[:, None, None]) * Quaternion(turn)
    return np.asarray(turned.data, dtype=np.float64)


def simulate_rows(truth: SampleTruth, rows: slice, seed: int = 1) -> NDArray[np.uint16]:
    """Counted patterns of a few scan rows, ``(n, x, ky, kx)``.

    Every row has its own random stream, so any cut of the scan gives the same
    counts.
    """
    phases = load_phases(PHASES)
    wanted = range(*rows.indices(SHAPE[0]))
    data = np.empty((len(wanted), SHAPE[1], *DETECTOR), dtype=np.uint16)

    def fill(i: int) -> None:
        data[i] = _row(truth, phases, wanted[i], np.random.default_rng([seed, wanted[i]]))

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(fill, range(len(wanted))))
    return data


def _row(
    truth: SampleTruth, phases: tuple[CrystalPhase, ...], y: int, rng: np.random.Generator
) -> NDArray[np.uint16]:
    expected = _background(truth, y)
    scale = _thickness(y)
    share = truth.second_share[y]
    for rotations, ids, part in (
        (truth.rotations[y], truth.phase_ids[y], 1 - share),
        (truth.second_rotations[y], truth.second_phase_ids[y], share),
    ):
        for number, phase in enumerate(phases):
            here = np.flatnonzero(ids == number)
            if here.size:
                image = _diffracted(phase, rotations[here], truth.center[y, here])
                expected[here] += image * (part * scale)[here, None, None].astype(np.float32)
    counts = rng.poisson(expected).astype(np.uint16)
    _spoil(counts, truth, y, rng)
    return counts


def _thickness(y: int) -> NDArray[np.float64]:
    """Diffracted counts along a row: a wedge with a gentle wave."""
    x = np.arange(SHAPE[1])
    return np.asarray(2600 * (1 + 0.35 * np.sin(x / 15 + y / 22) + 0.15 * np.cos(y / 9)))


def _diffracted(
    phase: CrystalPhase, rotations: NDArray[np.float64], center: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Spots of one crystal a pattern, each pattern's sum 1 before it leaves the detector."""
    import torch

    from napari_diffmap.crystal.simulate import Spots, render, spots

    found = spots(reflections(phase, _Q_MAX), rotations, VOLTAGE_KV, SIGMA_EXCITATION)
    # Multiple scattering levels intensities out; a square root stands in for it.
    level = torch.sqrt(found.intensity)
    level = level / level.sum(dim=1, keepdim=True)
    image = render(
        Spots(found.kx, found.ky, found.excitation, level),
        DETECTOR,
        torch.as_tensor(center, dtype=torch.float32),
        PIXEL_SIZE,
        PSF_SIGMA,
        cutoff=2e-3,
    )
    return np.asarray(image.numpy())


def _background(truth: SampleTruth, y: int) -> NDArray[np.float32]:
    """Direct beam, diffuse scattering, and the halo of amorphous carbon."""
    ky = (np.arange(DETECTOR[0]) - truth.center[y, :, :1]).astype(np.float32)
    kx = (np.arange(DETECTOR[1]) - truth.center[y, :, 1:]).astype(np.float32)
    expected = 4500 * (
        np.exp(-0.5 * (ky / 1.25) ** 2)[:, :, None] * np.exp(-0.5 * (kx / 1.25) ** 2)[:, None, :]
    )
    # Radial profiles are looked up: an exponential a pixel would take most of the time.
    q = np.arange(0, 2.2, _Q_STEP)
    diffuse = 0.5 * np.exp(-q / 0.28) + 0.024
    carbon = (
        0.35 * np.exp(-0.5 * ((q - 0.48) / 0.06) ** 2)
        + 0.14 * np.exp(-0.5 * ((q - 0.85) / 0.08) ** 2)
        + 0.3 * np.exp(-q / 0.25)
        + 0.004
    )
    for x in range(SHAPE[1]):
        if truth.phase_ids[y, x] >= 0 or truth.amorphous[y, x]:
            profile = carbon if truth.amorphous[y, x] else diffuse
            r2 = ky[x, :, None] ** 2 + kx[x, None, :] ** 2
            places = (np.sqrt(r2) * (PIXEL_SIZE / _Q_STEP) + 0.5).astype(np.int32)
            expected[x] += profile.astype(np.float32)[places]
        else:
            expected[x] += 0.004
    return np.asarray(expected, dtype=np.float32)


def _spoil(
    counts: NDArray[np.uint16], truth: SampleTruth, y: int, rng: np.random.Generator
) -> None:
    """Hot and dead pixels of the detector, and the scan's empty and saturated frames."""
    fixed = np.random.default_rng(7)
    places = fixed.integers(0, DETECTOR[0], (22, 2))
    hot, dead = places[:9], places[9:]
    counts[:, hot[:, 0], hot[:, 1]] = rng.poisson(70, (SHAPE[1], len(hot)))
    counts[:, dead[:, 0], dead[:, 1]] = 0
    for x in np.flatnonzero(truth.bad[y]):
        counts[x] = 0 if (x + y) % 2 else np.iinfo(np.uint16).max


def sample_scan(cache: Path | None = None) -> tuple[Scan, SampleTruth]:
    """The bundled sample, opened lazily from the user's cache; made on first use.

    Parameters
    ----------
    cache
        Folder to keep the file in; None for the user's cache folder (or the one
        named by the environment variable ``DIFFMAP_CACHE``).

    Raises
    ------
    ResourceError
        If the file cannot be written.
    """
    from napari_diffmap.crystal.sample_file import open_or_build

    return open_or_build(cache)


def build_sample() -> tuple[NDArray[np.uint16], SampleTruth]:
    """Counts ``(64, 64, 128, 128)`` and truth of the bundled sample, made anew."""
    truth = build_truth()
    return simulate_rows(truth, slice(None)), truth


def header() -> dict[str, Any]:
    """What the bundled file says about itself."""
    return {
        "General": {"title": "LiNiO2 polycrystal (simulated)"},
        "Signal": {"signal_type": "electron_diffraction"},
        "Acquisition_instrument": {"TEM": {"beam_energy": VOLTAGE_KV}},
    }
