"""Drift of simulated movies whose drift is known, and of a measured one."""

from __future__ import annotations

from collections.abc import Callable

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects import drift as module
from napari_diffmap.methods.defects.drift import aligned, measure_drift, preview
from napari_diffmap.scan.open import open_scan

SPACING = 10.4
Movie = NDArray[np.float32]


def lattice_movie(
    shifts: NDArray[np.float64],
    *,
    shape: tuple[int, int] = (192, 208),
    counts: float = 40,
    defects: float = 0.03,
    dirt: float = 0.2,
    seed: int = 0,
) -> Movie:
    """A hexagonal lattice of two sublattices that moves, under a shade that does not.

    Every frame has Poisson noise; a part of the sites of the weaker sublattice is empty, and a
    tenth of those change places from frame to frame.
    """
    rng = np.random.default_rng(seed)
    margin = float(np.abs(shifts).max()) + 3 * SPACING
    turn = np.radians(13)
    vectors = SPACING * np.array([[np.sin(a), np.cos(a)] for a in (turn, turn + np.pi / 3)])
    n = int(2 * (max(shape) + 2 * margin) / SPACING)
    cells = np.stack(np.meshgrid(*[np.arange(-n, n)] * 2, indexing="ij"), -1).reshape(-1, 2)
    heavy = cells @ vectors
    inside = (np.abs(heavy) < np.array(shape) / 2 + margin).all(axis=1)
    heavy = heavy[inside] + np.array(shape) / 2
    places = np.concatenate([heavy, heavy + vectors.sum(axis=0) / 3])
    heights = np.repeat([1.0, 0.4], len(heavy))
    weak = np.arange(len(heavy), len(places))
    empty = rng.random(len(weak)) < defects
    blobs = rng.uniform(-margin, max(shape) + margin, (40, 2))
    y, x = np.indices(shape)
    shade = 1 - 0.3 * ((y / shape[0] - 0.4) ** 2 + (x / shape[1] - 0.7) ** 2)
    frames = []
    for shift in shifts:
        moving = empty & (rng.random(len(weak)) < 0.1)
        empty ^= moving
        empty[rng.integers(0, len(weak), int(moving.sum()))] = True
        now = heights.copy()
        now[weak[empty]] = 0.05
        image = drawn(places + shift, now, 0.17 * SPACING, shape)
        image += dirt * drawn(blobs + shift, np.ones(40), 1.2 * SPACING, shape)
        frames.append(rng.poisson(counts * (image + 0.05) * shade))
    return np.asarray(frames, dtype=np.float32)


def drawn(
    places: NDArray[np.float64], heights: NDArray[np.float64], sigma: float, shape: tuple[int, int]
) -> NDArray[np.float64]:
    """Gaussians, exact between pixels: sums over rows and columns of each."""
    near = ((places > -4 * sigma) & (places < np.array(shape) + 4 * sigma)).all(axis=1)
    places, heights = places[near], heights[near]
    rows = np.exp(-0.5 * ((np.arange(shape[0])[:, None] - places[:, 0]) / sigma) ** 2)
    columns = np.exp(-0.5 * ((np.arange(shape[1])[:, None] - places[:, 1]) / sigma) ** 2)
    return np.asarray((rows * heights) @ columns.T)


def steady(frames: int, step: tuple[float, float]) -> NDArray[np.float64]:
    return np.arange(frames)[:, None] * np.array(step) * SPACING


def errors(movie: Movie, shifts: NDArray[np.float64]) -> NDArray[np.float64]:
    found = measure_drift(movie)
    return np.hypot(*(found.shifts - (shifts - shifts[0])).T)


WALK = np.cumsum(np.random.default_rng(3).uniform(-0.3, 0.3, (24, 2)) * SPACING, axis=0)
BUMPED = steady(24, (0.05, 0.02)) + np.where(np.arange(24) < 12, 0, 0.4 * SPACING)[:, None]


@pytest.mark.parametrize("counts", [150, 12])
@pytest.mark.parametrize(
    "shifts",
    [
        steady(24, (0.04, -0.07)),
        steady(24, (0.3, 0.28)),  # 0.4 lattice spacings a frame, out of the field at the end
        WALK - WALK[0],
        BUMPED,
    ],
    ids=["slow", "fast", "walk", "bump"],
)
def test_the_drift_is_found_to_a_part_of_a_pixel(shifts, counts):
    assert errors(lattice_movie(shifts, counts=counts), shifts).max() < 0.1


def test_a_lattice_without_defects_is_followed_by_its_steps():
    shifts = steady(24, (0.3, 0.1))
    movie = lattice_movie(shifts, defects=0, dirt=0)
    found = measure_drift(movie)
    assert np.abs(found.shifts - shifts).max() < 0.1
    # Nothing but the steps tells one lattice vector from the next: less sure than with defects.
    with_defects = measure_drift(lattice_movie(shifts))
    assert np.median(found.quality) < np.median(with_defects.quality)
    assert not with_defects.warnings


def test_a_jump_of_more_than_half_a_spacing_is_told():
    shifts = steady(16, (0.02, 0.02)) + np.where(np.arange(16) < 8, 0, 0.9 * SPACING)[:, None]
    found = measure_drift(lattice_movie(shifts, counts=100, dirt=0.6))
    assert np.abs(found.shifts - shifts).max() < 0.2
    assert any("lattice spacings between frames" in line for line in found.warnings)


def test_an_image_without_lattice_is_followed_too():
    rng = np.random.default_rng(5)
    shifts = steady(8, (0.2, -0.3))
    places, heights = rng.uniform(-60, 220, (60, 2)), rng.uniform(0.3, 1, 60)
    frames = [rng.poisson(60 * drawn(places + s, heights, 4, (160, 160)) + 5) for s in shifts]
    assert errors(np.asarray(frames, np.float32), shifts).max() < 0.2


def test_large_frames_are_binned(monkeypatch):
    shifts = steady(8, (0.1, 0.2))
    movie = lattice_movie(shifts)
    monkeypatch.setattr(module, "_LARGEST", 128)
    found = measure_drift(movie)
    assert np.abs(found.shifts - shifts).max() < 0.15
    assert found.before.shape == found.after.shape == movie.shape[1:]


@pytest.mark.parametrize("blank", ["even", "noise"])
def test_frames_may_come_one_by_one_and_a_blank_one_does_no_harm(blank):
    shifts = steady(10, (0.1, 0.15))
    movie = lattice_movie(shifts)
    movie[4] = 7.0 if blank == "even" else np.random.default_rng(1).poisson(9, movie[4].shape)
    movie[6, 20:30] = np.nan
    calls: list[tuple[int, int]] = []

    def progress(done: int, of: int, what: str) -> None:
        calls.append((done, of))
        assert "frame" in what or "drift" in what

    one_by_one = measure_drift(lambda t: movie[t], 10, progress=progress)
    lazy = measure_drift(da.from_array(movie, chunks=(1, -1, -1)))
    assert np.array_equal(one_by_one.shifts, lazy.shifts)
    good = np.arange(10) != 4
    assert np.abs(lazy.shifts - shifts)[good].max() < 0.1
    assert np.abs(lazy.shifts - shifts)[4].max() < 0.3 * SPACING
    assert lazy.quality[4] == 0
    assert any("frame 4 is not sure" in line for line in lazy.warnings)
    assert calls[-1][0] == calls[-1][1]


def test_it_can_be_stopped():
    def check() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_drift(lattice_movie(steady(4, (0.1, 0.1))), check=check)


def test_a_frame_is_moved_back():
    image = drawn(np.array([[40.0, 50.0]]), np.ones(1), 3, (80, 90))
    moved = drawn(np.array([[43.3, 47.75]]), np.ones(1), 3, (80, 90))
    shift = (3.3, -2.25)
    back = aligned(moved, shift, order=3)
    assert back.dtype == np.float32
    known = np.isfinite(back)
    assert np.abs(back - image)[known].max() < 0.01
    # Rows below and columns on the left came from beyond the border.
    assert not known[-4:].any()
    assert not known[:, :3].any()
    assert known[:-4, 3:].all()
    assert np.array_equal(aligned(moved, (0, 0)), moved.astype(np.float32))


def test_the_preview_is_sharp_after_and_the_words_say_how_far():
    shifts = steady(12, (0.1, 0.2))
    movie = lattice_movie(shifts)
    found = measure_drift(movie)
    before, after = preview(found)
    assert np.allclose(before, movie.mean(axis=0), atol=1e-3)
    expected = np.nanmean([aligned(f, s) for f, s in zip(movie, found.shifts, strict=True)], axis=0)
    inner = np.s_[40:-40, 40:-40]
    assert np.abs(after - expected)[inner].max() < 1
    assert after[inner].std() > 2 * before[inner].std()
    total, step = np.hypot(*shifts[-1]), np.hypot(*shifts[1])
    assert f"by up to {total:.3g} pixels in 12 frames" in found.in_words()
    assert f"by up to {total * 0.03:.3g} nm" in found.in_words(0.03)
    assert f"{step * 0.03:.2g} nm from frame to frame" in found.in_words(0.03)


@pytest.mark.parametrize(
    ("frames", "says"),
    [
        (list, "without frames"),
        (lambda: np.zeros((3, 16, 16)), "too small"),
        (lambda: [np.ones((64, 64)), np.ones((64, 60))], r"frame 1 is \(64, 60\)"),
        (lambda: lambda t: np.ones((64, 64)), "needs their number"),
    ],
)
def test_what_is_no_movie_is_refused(frames: Callable[[], object], says: str):
    with pytest.raises(BadInputError, match=says):
        measure_drift(frames())


def test_one_frame_does_not_drift():
    found = measure_drift(np.ones((1, 64, 64)))
    assert found.shifts.tolist() == [[0, 0]]
    assert "no drift" in found.in_words()


def test_a_measured_movie_becomes_sharp(shared_data):
    path = shared_data / "abf_short_movie" / "stem_abf_data_imagestack.hspy"
    if not path.is_file():
        pytest.skip("the measured movie is absent")
    scan = open_scan(path)
    found = measure_drift(scan.data)
    assert not found.warnings
    assert 3 < np.hypot(*np.diff(found.shifts, axis=0).T).max() < 5
    inner = np.s_[20:-20, 20:-20]
    assert found.after[inner].std() > 1.07 * found.before[inner].std()
    # The other way in time gives the same drift.
    back = measure_drift(scan.data[::-1])
    turned = back.shifts[::-1] - back.shifts[-1]
    assert np.abs(turned - found.shifts).max() < 0.3
