"""Defects found in simulated and measured images: F1, calibration, silicon in graphene, speed.

``python -m benchmarks.defects [--seeds 12] [--graphene FOLDER] [--speed 100]`` prints the tables of
docs/defects.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial import cKDTree

from napari_diffmap.methods.defects.find import Finder, best_threshold
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.monolayers import MONOLAYERS
from napari_diffmap.methods.defects.network.calibrated import calibration_error
from napari_diffmap.methods.defects.network.labels_fourier import fourier_labels
from napari_diffmap.methods.defects.parameters import FindParameters
from napari_diffmap.methods.defects.simulated import Simulated, simulate

#: Probe in nm, counts at a tungsten atom.
PROBES = (0.05, 0.06, 0.075)
PEAKS = (30, 100, 400)
#: Pixels within which a find is a defect, and border that is not judged.
TOLERANCE, BORDER = 4.0, 8
#: Seeds begin here: none was looked at while the finder was built.
FIRST = 5000


def matched(
    places: NDArray[np.float64], truth: NDArray[np.float64], reach: float = TOLERANCE
) -> NDArray[np.bool_]:
    """Which places are a true one each, as many as can be."""
    hit = np.zeros(len(places), dtype=bool)
    if not len(places) or not len(truth):
        return hit
    gap = np.hypot(*(places[:, None] - truth).transpose(2, 0, 1))
    rows, columns = linear_sum_assignment(np.where(gap <= reach, gap, 1e3))
    hit[rows] = gap[rows, columns] <= reach
    return hit


def f1(hit: NDArray[np.bool_], truth: int) -> float:
    return 2 * float(hit.sum()) / max(len(hit) + truth, 1)


@dataclass(frozen=True)
class Score:
    f1: float
    best: float
    said: NDArray[np.float64]
    right: NDArray[np.bool_]


def judged(places: NDArray[np.float64], said: NDArray[np.float64], scene: Simulated) -> Score:
    """F1 where finds count by the finder's own rule, at the best of all thresholds, and pairs."""
    size = scene.image.shape[0]
    inside = ((places >= BORDER - 1) & (places <= size - BORDER)).all(axis=1)
    places, said = places[inside], said[inside]
    truth = scene.truth.places
    counted = said >= best_threshold(said)
    tried = [f1(matched(places[said >= t], truth), len(truth)) for t in np.arange(0.1, 0.95, 0.05)]
    own = f1(matched(places[counted], truth), len(truth))
    return Score(own, max([own, *tried]), said, matched(places, truth))


def limit(scene: Simulated, sigma: float, peak: float) -> Score:
    """What nobody can beat: each site's likelihood ratio, all else of the image known."""
    layer = MONOLAYERS["WS2"]
    height = peak * np.array(layer.amplitudes)[scene.sublattice]
    ratio = np.array([layer.ratio(0, "Mo"), layer.ratio(1, "S")])[scene.sublattice]
    defect = cKDTree(scene.truth.places).query(scene.sites)[0] < 1e-6
    inside = ((scene.sites > BORDER) & (scene.sites < len(scene.image) - 1 - BORDER)).all(axis=1)
    logit = np.full(len(scene.sites), -50.0)
    image, expected = scene.image.astype(float), scene.expected.astype(float)
    offset = np.arange(-9, 10)
    for i in np.flatnonzero(inside):
        y, x = np.rint(scene.sites[i]).astype(int)
        rows, columns = (
            np.clip(y + offset, 0, len(image) - 1),
            np.clip(x + offset, 0, len(image) - 1),
        )
        fall = [
            np.exp(-((at - centre) ** 2) / (2 * sigma**2))
            for at, centre in zip((y + offset, x + offset), scene.sites[i], strict=True)
        ]
        column = height[i] * np.outer(*fall)
        now = expected[np.ix_(rows, columns)]
        pristine = np.maximum(now + ((1 - ratio[i]) * column if defect[i] else 0), 1e-6)
        doped = np.maximum(pristine - (1 - ratio[i]) * column, 1e-6)
        counts = image[np.ix_(rows, columns)]
        logit[i] = (counts * np.log(doped / pristine) - doped + pristine).sum()
    for kind in (0, 1):
        mine = inside & (scene.sublattice == kind)
        share = (defect & mine).sum() / mine.sum()
        logit[mine] += np.log(share / (1 - share))
    said = 1 / (1 + np.exp(-np.clip(logit, -50, 50)))
    kept = said > 0.02
    return judged(scene.sites[kept], said[kept], scene)


def fourier(scene: Simulated) -> tuple[float, float]:
    """F1 of the published labels at their thresholds, and at the best pair of thresholds."""
    from scipy.ndimage import center_of_mass, label

    difference = fourier_labels(scene.image).difference
    truth = scene.truth.places

    def score(low: float, high: float) -> float:
        pieces, count = label((difference < low) | (difference > high), np.ones((3, 3)))
        area = np.bincount(pieces.ravel(), minlength=count + 1)[1:]
        kept = np.flatnonzero((area > 5) & (area < 700)) + 1
        if not len(kept):
            return 0.0
        places = np.array(center_of_mass(pieces > 0, pieces, kept)).reshape(-1, 2)
        return f1(matched(places, truth), len(truth))

    lows = np.quantile(difference, (0.002, 0.005, 0.01, 0.02, 0.04))
    highs = (*np.quantile(difference, (0.99, 0.998)), 2.0)
    return score(0.25, 0.75), max(score(a, b) for a in lows for b in highs)


def simulated(
    seeds: int,
    first: int = FIRST,
    probes: Sequence[float] = PROBES,
    peaks: Sequence[float] = PEAKS,
) -> str:
    """The table of simulated WS2."""
    heads = (
        "probe (nm)", "peak counts", "F1", "at the best threshold", "limit", "Fourier labels",
        "at their best thresholds", "calibration error",
    )  # fmt: skip
    lines = [
        f"| {' | '.join(heads)} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for probe in probes:
        for peak in peaks:
            own, best, most, plain, tuned = [], [], [], [], []
            said, right = [], []
            for seed in range(first, first + seeds):
                scene = simulate(np.random.default_rng(seed), "WS2", peak=peak, probe_nm=probe)
                finds = found(scene.image, 0.03, "monolayer", "WS2")
                score = judged(finds.places, finds.probability.astype(float), scene)
                own.append(score.f1)
                best.append(score.best)
                said.append(score.said)
                right.append(score.right)
                most.append(limit(scene, probe / 0.03, peak).best)
                a, b = fourier(scene)
                plain.append(a)
                tuned.append(b)
            error = calibration_error(np.concatenate(said), np.concatenate(right))
            row = " | ".join(f"{np.mean(v):.3f}" for v in (own, best, most, plain, tuned))
            lines.append(f"| {probe} | {peak:g} | {row} | {100 * error:.1f} % |")
            print(lines[-1], flush=True)
    return "\n".join(lines)


def found(image: NDArray[np.float32], pixel_nm: float, model: str, material: str) -> Finds:
    finder = Finder(FindParameters.model_validate({"model": model, "material": material}))
    finder.prepare([image], pixel_nm)
    return finder.frame(image, 0).finds


def graphene(folder: Path) -> str:
    """Silicon in measured graphene, nothing of which was learnt from."""
    import h5py

    from napari_diffmap.methods.defects.sort.classes import sort_by_sites

    total = hits = extra = alike = 0
    gaps: list[float] = []
    files = sorted(folder.glob("*/*.hdf5"))
    for path in files:
        with h5py.File(path) as file:
            image = file["nn_input"][0, ..., 0]
            pixel = float(file["nn_input"].attrs["scan size"]) / 1000 / len(image)
            rows = [r for name in file if name.startswith("defect_coord") for r in file[name][()]]
        # Labels are (column, row, element).
        truth = np.array([(float(r[1]), float(r[0])) for r in rows if r[2] == b"Si"])
        finds = found(image, pixel, "monolayer", "graphene")
        counted = finds.take(finds.probability >= 0.5)
        classes = sort_by_sites(counted, "graphene", {0: None})
        silicon = np.array([classes.names[i] == "Si" for i in classes.class_id], dtype=bool)
        places = counted.places[silicon]
        hit = matched(places, truth, 0.1 / pixel)
        total, hits, extra = total + len(truth), hits + int(hit.sum()), extra + int((~hit).sum())
        if hit.any():
            gaps += list(cKDTree(truth).query(places[hit])[0] * pixel * 1000)
        alike += (largest_group(places * pixel) > 1) == (largest_group(truth * pixel) > 1)
    return (
        f"{len(files)} frames, {total} silicon atoms: {100 * hits / total:.1f} % found within"
        f" 0.1 nm (median {np.median(gaps):.0f} pm), {extra} more finds; single or several told"
        f" apart in {100 * alike / len(files):.0f} % of frames"
    )


def largest_group(places_nm: NDArray[np.float64], reach: float = 0.4) -> int:
    """Atoms in the largest group of neighbours."""
    if not len(places_nm):
        return 0
    from scipy.sparse.csgraph import connected_components

    near = np.hypot(*(places_nm[:, None] - places_nm).transpose(2, 0, 1)) < reach
    _, group = connected_components(near, directed=False)
    return int(np.bincount(group).max())


def speed(frames: int) -> str:
    """A movie from frames to diffusion."""
    from dask import array

    from napari_diffmap.jobs.defects import map_defects
    from napari_diffmap.methods.defects.parameters import DefectParameters
    from napari_diffmap.methods.defects.simulated_movie import movie
    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    shown = movie(3, frames=frames, size=512, vacancies=40, molybdenum=15, complexes=15)
    axes = (
        Axis("time", frames, shown.frame_time_s, 0.0, "s"),
        *(Axis(name, 512, shown.pixel_size_nm, 0.0, "nm") for name in "yx"),
    )
    data = array.from_array(shown.frames, chunks=(1, 512, 512))
    scan = Scan(data=data, axes=axes, kind="image series", name="simulated")
    parameters = DefectParameters.model_validate({"find": {"material": "WS2"}})
    begin = time.perf_counter()
    run = map_defects(scan, parameters)
    seconds = time.perf_counter() - begin
    return f"{frames} frames of 512²: {len(run.finds)} finds in {seconds:.0f} s"


def main() -> None:
    """Print what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--first", type=int, default=FIRST, help="the first of them")
    parser.add_argument("--probe", type=float, nargs="+", default=PROBES, help="nm")
    parser.add_argument("--peak", type=float, nargs="+", default=PEAKS, help="counts")
    parser.add_argument("--graphene", type=Path)
    parser.add_argument("--speed", type=int, default=0)
    chosen = parser.parse_args()
    if chosen.seeds:
        print(simulated(chosen.seeds, chosen.first, chosen.probe, chosen.peak))
    if chosen.graphene:
        print(graphene(chosen.graphene))
    if chosen.speed:
        print(speed(chosen.speed))


if __name__ == "__main__":
    main()
