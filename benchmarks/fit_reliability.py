"""Fit the reliability model on simulated truth; write it and its reliability diagram.

Run from the repository root: ``python -m benchmarks.fit_reliability [--scans N]``.
Seeded: the same machine gives the same file.  A third of the scans is held out.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from benchmarks.simulated_scans import draw_conditions, make_scan
from napari_diffmap.maps.quaternions import disorientation
from napari_diffmap.methods.orientation import OrientationMethod, OrientationParameters
from napari_diffmap.methods.orientation.doubt import (
    FACTORS,
    Evidence,
    LogisticFactor,
    ReliabilityModel,
)
from napari_diffmap.scan.tiles import iter_tiles

SEED = 11
RIGHT_DEG = 3.0
#: Factors of a margin, and how sure they may be (logit of 0.45) where it is nothing.
_MARGINS, _DRAW = ("rival", "phase"), float(np.log(0.45 / 0.55))
MODEL = Path(__file__).parents[1] / "src/napari_diffmap/methods/orientation/reliability.json"


def collect(index: int, patterns: int) -> dict:
    """Features and truth of one simulated scan."""
    rng = np.random.default_rng([SEED, index])
    conditions = draw_conditions(rng, index)
    scan, truth, library = make_scan(rng, conditions, patterns)
    method = OrientationMethod(OrientationParameters(), library)
    method.prepare(scan)
    tile = next(iter_tiles(scan))
    peaks, empty = method.find_spots(tile)
    answers, evidence = method.answer(peaks, empty)
    rotations = method.search.rotations(answers)[:, 0]
    phase = answers.phase[:, 0].numpy()
    right = np.zeros(patterns, dtype=bool)
    for i, crystal in enumerate(library):
        here = (truth.phase == i) & (phase == i)
        if here.any():
            angle = disorientation(rotations[here], truth.rotation[here], crystal.symmetry)
            right[here] = angle < RIGHT_DEG
    return {
        "conditions": conditions,
        "evidence": evidence,
        "right": right,
        "spots": evidence.spots,
        "answered": ~evidence.void,
        "crystal": truth.phase >= 0,
        "single": (truth.phase >= 0) & (truth.share == 0),
    }


def join(pieces: list[Evidence], chosen: NDArray[np.bool_]) -> Evidence:
    """Evidence of several scans as one, only what is chosen."""
    names = [field.name for field in dataclasses.fields(Evidence)]
    columns = {n: np.concatenate([getattr(p, n) for p in pieces])[chosen] for n in names}
    return Evidence(**columns)


def fit(evidence: Evidence, right: NDArray[np.bool_], provenance: dict) -> ReliabilityModel:
    """Maximum likelihood of the product of three logistic factors, with a little ridge.

    Neither a better match nor a wider margin over a rival ever speaks against an
    answer: of all weights only that of the number of spots may be negative.  Two equal
    answers are no better than a coin, however few of them the simulated scans hold.
    """
    features = evidence.features()
    shapes = {name: (x.mean(axis=0), x.std(axis=0) + 1e-9) for name, x in features.items()}

    def model(w: NDArray[np.float64]) -> ReliabilityModel:
        factors, start = {}, 0
        for name, (mean, scale) in shapes.items():
            stop = start + len(mean)
            bias = float(w[stop])
            if name in _MARGINS:  # what is fitted is the factor where there is no margin
                bias += float((w[start:stop] * mean / scale).sum())
            factors[name] = LogisticFactor(mean, scale, w[start:stop], bias)
            start = stop + 1
        return ReliabilityModel(factors, provenance)

    def loss(w: NDArray[np.float64]) -> float:
        factors = model(w).factors
        product = np.prod([factors[name](x) for name, x in features.items()], axis=0)
        p = np.clip(product, 1e-6, 1 - 1e-6)
        return float(-np.log(np.where(right, p, 1 - p)).mean() + 1e-4 * (w**2).sum())

    bounds: list[tuple[float | None, None]] = []
    for name in shapes:
        bounds += [(None if f == "log_spots" else 0.0, None) for f in FACTORS[name]]
        bounds.append((None, _DRAW if name in _MARGINS else None))
    start = np.random.default_rng(SEED).normal(0, 0.3, len(bounds))
    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 400}).x
    return model(best.round(4))


def judge(probability: NDArray[np.float32], right: NDArray[np.bool_]) -> dict:
    """Reliability diagram, expected calibration error, Brier score, area under the ROC curve."""
    edges = np.linspace(0, 1, 11)
    rows, error = [], 0.0
    for low, high in itertools.pairwise(edges):
        here = (probability >= low) & (probability < high if high < 1 else probability <= 1)
        if here.any():
            said, was = float(probability[here].mean()), float(right[here].mean())
            rows.append({"said": round(said, 3), "was": round(was, 3), "patterns": int(here.sum())})
            error += here.mean() * abs(said - was)
    order = np.argsort(probability)
    ranks = np.empty(len(order))
    ranks[order] = np.arange(1, len(order) + 1)
    positive = int(right.sum())
    area = (ranks[right].sum() - positive * (positive + 1) / 2) / max(
        1, positive * (len(right) - positive)
    )
    return {
        "patterns": len(right),
        "right": round(float(right.mean()), 3),
        "brier": round(float(np.mean((probability - right) ** 2)), 4),
        "expected_calibration_error": round(float(error), 4),
        "area_under_roc": round(float(area), 4),
        "diagram": rows,
    }


def draw_diagram(held_out: dict, path: Path) -> None:
    """What was said against what was so; the area of a dot is the number of patterns."""
    from matplotlib.figure import Figure

    rows = held_out["diagram"]
    said, was, count = (np.array([row[n] for row in rows]) for n in ("said", "was", "patterns"))
    figure = Figure(figsize=(5, 4.6), dpi=110, layout="constrained")
    axes = figure.add_subplot()
    axes.plot((0, 1), (0, 1), color="0.6", lw=1)
    # Binomial standard error of what was so.
    error = np.sqrt(was * (1 - was) / count)
    axes.errorbar(said, was, error, fmt="none", ecolor="#0072B2", lw=1)
    axes.scatter(said, was, s=count / 3, color="#0072B2")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axes.set_xlabel("reliability said")
    axes.set_ylabel("share of answers that were right")
    axes.set_title(
        f"{held_out['patterns']} held-out patterns,"
        f" calibration error {held_out['expected_calibration_error']:.3f}"
    )
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scans", type=int, default=96)
    parser.add_argument("--patterns", type=int, default=96)
    parser.add_argument("--out", type=Path, default=MODEL)
    parser.add_argument("--draw", type=Path, help="only draw the diagram of the shipped model")
    arguments = parser.parse_args()
    if arguments.draw:
        shipped = ReliabilityModel.from_json(MODEL.read_text(encoding="utf-8"))
        draw_diagram(shipped.provenance["held_out"], arguments.draw)
        return
    sets = []
    for index in range(arguments.scans):
        found = collect(index, arguments.patterns)
        sets.append(found)
        c = found["conditions"]
        usable = found["single"]
        print(
            f"{index:3d} {'+'.join(c.library):14s} {'Bloch' if c.dynamical else 'kinematic':9s}"
            f" {c.dose:7.0f} e  right {found['right'][usable].mean():.2f}"
            f"  spots {np.median(found['spots']):.0f}",
            flush=True,
        )
    # Whole scans are held out: patterns of one scan share their conditions.
    held = [i % 3 == 2 for i in range(len(sets))]

    def pool(name: str, out: bool) -> NDArray:
        return np.concatenate([s[name] for s, h in zip(sets, held, strict=True) if h == out])

    answered = [pool("answered", out) for out in (False, True)]
    evidence = [
        join([s["evidence"] for s, h in zip(sets, held, strict=True) if h == out], chosen)
        for out, chosen in zip((False, True), answered, strict=True)
    ]
    right = [pool("right", out)[a] for out, a in zip((False, True), answered, strict=True)]
    doses = [s["conditions"].dose for s in sets]
    provenance = {
        "script": "benchmarks/fit_reliability.py",
        "seed": SEED,
        "scans": len(sets),
        "patterns_fitted": len(right[0]),
        "phases": sorted({n for s in sets for n in s["conditions"].library}),
        "diffracted_electrons": [round(min(doses)), round(max(doses))],
        "intensities": "kinematic and Bloch wave, half each",
        "right_means": f"phase right and within {RIGHT_DEG:g} degrees after symmetry",
    }
    model = fit(evidence[0], right[0], provenance)
    provenance["held_out"] = judge(model.probability(evidence[1]), right[1])
    arguments.out.write_text(model.to_json() + "\n", encoding="utf-8")
    print(json.dumps(provenance["held_out"], indent=1))
    fitted = judge(model.probability(evidence[0]), right[0])
    print("fitted:", {k: v for k, v in fitted.items() if k != "diagram"})
    for name, factor in model.factors.items():
        print(name, dict(zip(FACTORS[name], factor.weights, strict=True)), factor.bias)
    single = pool("single", True)
    print(f"held-out single crystals right: {pool('right', True)[single].mean():.3f}")
    print(dataclasses.asdict(sets[0]["conditions"]))


if __name__ == "__main__":
    main()
