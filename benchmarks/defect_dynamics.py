"""Planted diffusion and transitions: how often the stated 95 % intervals hold the truth.

``python -m benchmarks.defect_dynamics [--runs 200]`` prints the tables of docs/defects.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_diffmap.methods.defects.follow.diffusion import hops, pooled
from napari_diffmap.methods.defects.follow.hidden import hidden_markov
from napari_diffmap.methods.defects.follow.published import variance_diffusion
from napari_diffmap.methods.defects.follow.transitions import transitions

RUNS = 200
#: nm²/s, s, nm between sites: what a published movie of WS2 is like.
D, DT, SITE = 2e-3, 2.25, 0.3153
#: Classes that last, and classes that are drawn anew in nearly every frame, as published.
LASTING = np.array(
    [
        [0.85, 0.05, 0.07, 0.03],
        [0.10, 0.80, 0.05, 0.05],
        [0.02, 0.08, 0.70, 0.20],
        [0.05, 0.05, 0.10, 0.80],
    ]
)
PUBLISHED = np.array(
    [
        [0.108, 0.319, 0.265, 0.308],
        [0.122, 0.181, 0.356, 0.341],
        [0.183, 0.234, 0.265, 0.318],
        [0.168, 0.205, 0.282, 0.345],
    ]
)


CHAINS = (
    ("lasting classes", LASTING, 0.0, "counts"),
    ("lasting classes", LASTING, 0.1, "counts"),
    ("lasting classes", LASTING, 0.1, "hidden"),
    ("lasting classes", LASTING, 0.2, "hidden"),
    ("as published", PUBLISHED, 0.0, "counts"),
    ("as published", PUBLISHED, 0.1, "hidden"),
)


@dataclass(frozen=True)
class Walks:
    """Free walks as they are seen.

    `noise` is the standard deviation of a coordinate over that of a true way in a frame.
    """

    title: str
    tracks: int
    length: int
    noise: float
    missing: float = 0.0
    known: bool = False


WALKS = (
    Walks("one track of 50 frames, noise 0.5", 1, 50, 0.5),
    Walks("one track of 100 frames, noise 0.5", 1, 100, 0.5),
    Walks("one track of 100 frames, noise 2", 1, 100, 2.0),
    Walks("one track of 100 frames, noise 0.5, 20 % unseen", 1, 100, 0.5, 0.2),
    Walks("one track of 50 frames, noise 2, noise known", 1, 50, 2.0, 0.0, True),
    Walks("20 tracks of 15 frames, noise 0.5, 10 % unseen", 20, 15, 0.5, 0.1),
    Walks("20 tracks of 15 frames, noise 2, 10 % unseen", 20, 15, 2.0, 0.1),
)


def planted_walk(rng: np.random.Generator, one: Walks) -> tuple[np.ndarray, np.ndarray]:
    """Places in nm and frames of one track."""
    step = np.sqrt(2 * D * DT)
    place = np.cumsum(rng.normal(0, step, (one.length, 2)), axis=0)
    place += rng.normal(0, one.noise * step, place.shape)
    seen = rng.random(one.length) >= one.missing
    return place[seen], np.flatnonzero(seen)


def planted_chains(
    rng: np.random.Generator, matrix: np.ndarray, confusion: np.ndarray, tracks: int, length: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Frames and seen classes of tracks, one frame in ten unseen."""

    def drawn(chances: np.ndarray) -> np.ndarray:
        beyond = rng.random(chances.shape[:-1])[..., None] > chances.cumsum(axis=-1)
        return np.minimum(beyond.sum(axis=-1), chances.shape[-1] - 1)

    label = np.empty((tracks, length), dtype=int)
    label[:, 0] = rng.integers(len(matrix), size=tracks)
    for t in range(1, length):
        label[:, t] = drawn(matrix[label[:, t - 1]])
    label = drawn(confusion[label])
    seen = rng.random(label.shape) >= 0.1
    return [(np.flatnonzero(s), one[s]) for s, one in zip(seen, label, strict=True)]


def diffusion_table(runs: int) -> str:
    rows = [
        "| planted walk | truth within | width / D | mean D / truth | published / truth |",
        "| --- | --- | --- | --- | --- |",
    ]
    for number, one in enumerate(WALKS):
        rng = np.random.default_rng(number)
        held, width, found, published = 0, [], [], []
        for run in range(runs):
            tracks = [planted_walk(rng, one) for _ in range(one.tracks)]
            noise = one.noise * float(np.sqrt(2 * D * DT)) if one.known else None
            places, frames = [t[0] for t in tracks], [t[1] for t in tracks]
            told = pooled(places, DT, frames, localisation_nm=noise, seed=run, wells=False)
            held += told.low <= D <= told.high
            width.append(told.high - told.low)
            found.append(told.D_nm2_s)
            published.append(np.mean([variance_diffusion(p, DT).D_nm2_s for p in places]))
        rows.append(
            f"| {one.title} | {held} of {runs} ({100 * held / runs:.1f} %) |"
            f" {np.median(width) / D:.2f} | {np.mean(found) / D:.2f} |"
            f" {np.mean(published) / D:.2f} |"
        )
    runs *= 5  # these cost next to nothing
    for rate in (0.02, 0.5):
        held, width, found = 0, [], []
        rng = np.random.default_rng(100)
        truth = rate / DT * SITE**2 / 4
        for _ in range(runs):
            places = planted_hops(rng, rate, 10, 50)
            told = hops(places, [np.arange(len(p)) for p in places], DT, SITE)
            held += told.D_low <= truth <= told.D_high
            width.append(told.D_high - told.D_low)
            found.append(told.D_nm2_s)
        rows.append(
            f"| 10 tracks of 50 frames, {rate:g} hops a frame, by the hop rate |"
            f" {held} of {runs} ({100 * held / runs:.1f} %) | {np.median(width) / truth:.2f} |"
            f" {np.mean(found) / truth:.2f} | |"
        )
    return "\n".join(rows)


def planted_hops(
    rng: np.random.Generator, per_frame: float, tracks: int, length: int
) -> list[np.ndarray]:
    """Places of walks on a triangular lattice, cut where linking cannot reach."""
    turns = np.deg2rad(60 * np.arange(6))
    steps = SITE * np.stack([np.sin(turns), np.cos(turns)], axis=1)
    parts: list[np.ndarray] = []
    for _ in range(tracks):
        made = rng.poisson(per_frame, length - 1)
        ways = np.array([steps[rng.integers(6, size=n)].sum(axis=0) for n in made])
        place = np.concatenate([np.zeros((1, 2)), np.cumsum(ways, axis=0)])
        beyond = np.hypot(*ways.T) > 1.2 * SITE
        place += rng.normal(0, 0.05 * SITE, place.shape)
        parts += np.split(place, np.flatnonzero(beyond) + 1)
    return [one for one in parts if len(one) > 1]


def transition_table(runs: int) -> str:
    heads = ("planted matrix, classifier right in", "estimator", "entries within", "all within")
    rows = ["| " + " | ".join((*heads, "width", "λ2 within")) + " |", "| --- " * 6 + "|"]
    for number, (name, matrix, wrong, method) in enumerate(CHAINS):
        truth = np.sort(np.abs(np.linalg.eigvals(matrix)))[-2]
        confusion = np.full((4, 4), wrong / 3) + (1 - 4 * wrong / 3) * np.eye(4)
        rng = np.random.default_rng(number)
        entries, whole, width, second = [], 0, [], 0
        for run in range(runs):
            chains = planted_chains(rng, matrix, confusion, 20, 50)
            told = (
                transitions(chains, 4, DT, seed=run)
                if method == "counts"
                else hidden_markov(chains, confusion, 4, DT, sweeps=600, seed=run)
            )
            entries.append(((told.low <= matrix) & (told.high >= matrix)).mean())
            whole += ((told.joint_low <= matrix) & (told.joint_high >= matrix)).all()
            width.append((told.high - told.low).mean())
            second += told.second_low <= truth <= told.second_high
        rows.append(
            f"| {name}, {100 - 100 * wrong:.0f} % | {method} |"
            f" {100 * np.mean(entries):.1f} % | {whole} of {runs}"
            f" ({100 * whole / runs:.1f} %) | {np.mean(width):.2f} |"
            f" {100 * second / runs:.1f} % |"
        )
    return "\n".join(rows)


def table(runs: int = RUNS) -> str:
    """Both tables, as Markdown."""
    start = time.perf_counter()
    first = diffusion_table(runs)
    middle = time.perf_counter()
    second = transition_table(runs)
    end = time.perf_counter()
    took = f"{middle - start:.0f} s and {end - middle:.0f} s"
    return f"{first}\n\n{second}\n\n{runs} runs a row; {took}."


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=RUNS)
    print(table(parser.parse_args(arguments).runs))


if __name__ == "__main__":
    main()
