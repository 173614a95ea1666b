"""Tracks, diffusion and transitions as rows of text, ready for tables."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.viewer.defects import Defects

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.follow.diffusion import Diffusion

TRACK_HEADS = ("track", "class", "seen", "D", "95 %")
DIFFUSION_HEADS = ("class", "tracks", "D", "95 %", "hops", "±", "confined")


@dataclass(frozen=True)
class TrackRow:
    """One track.

    Attributes
    ----------
    track
        Its number.
    class_id
        The class it shows most often.
    cells
        As `TRACK_HEADS`.
    keys
        What each column is sorted by.
    tip
        More of it.
    """

    track: int
    class_id: int
    cells: tuple[str, ...]
    keys: tuple[float, ...]
    tip: str = ""


def diffusion_line(defects: Defects) -> str:
    """Units of the table of diffusion, and what to know of its numbers."""
    run = defects.run
    if run is None:
        return ""
    unit = units(defects)
    parts = [f"D in {unit[0]}, hops in {unit[2]}, ± in {unit[1]}"]
    if not run.followed.units.calibrated:
        parts.append("not calibrated: give pixel size and frame time")
    parts += [f"⚠ {name}: {told.warning}" for name, told in run.followed.diffusion.items()
              if told.warning]  # fmt: skip
    return " · ".join(parts)


def units(defects: Defects) -> tuple[str, str, str]:
    """Units of diffusion, of lengths and of rates."""
    run = defects.run
    if run is None:
        return "nm²/s", "nm", "1/s"
    told = run.followed.units
    length = "px" if told.length == "pixel" else told.length
    return f"{length}²/{told.time}", length, f"1/{told.time}"


def track_rows(defects: Defects) -> list[TrackRow]:
    """Rows of the tracks, as they were followed last."""
    run, found = defects.run, defects.map
    if run is None or found is None:
        return []
    followed = run.followed
    tracks = followed.tracks
    unit = units(defects)[0]
    rows = []
    for k in range(len(tracks)):
        class_id = int(followed.track_class[k])
        told = followed.track_diffusion[k] if k < len(followed.track_diffusion) else None
        d = math.nan if told is None else told.D_nm2_s
        first, last, seen = int(tracks.first[k]), int(tracks.last[k]), int(tracks.seen[k])
        cells = (
            f"{k}",
            found.phases[class_id].name,
            f"{seen}",
            "–" if not math.isfinite(d) else f"{d:.2g}",
            "–" if told is None else span(told.low, told.high),
        )
        words = (
            (f"frames {first}–{last}", "too short for a diffusion coefficient of its own")
            if told is None
            else (f"frames {first}–{last}", diffusion_words(told, unit), told.warning)
        )
        tip = "\n".join(filter(None, words))
        low = math.nan if told is None else told.low
        keys = (float(k), float(class_id), float(seen), _last(d), _last(low))
        rows.append(TrackRow(k, class_id, cells, keys, tip))
    return rows


def _last(value: float) -> float:
    """What is not known is sorted below all."""
    return value if math.isfinite(value) else -math.inf


def diffusion_rows(defects: Defects) -> list[tuple[tuple[str, ...], str]]:
    """Cells as `DIFFUSION_HEADS`, and the tooltip of each class with tracks."""
    run = defects.run
    if run is None:
        return []
    unit, _, rate = units(defects)
    rows = []
    for name, told in run.followed.diffusion.items():
        hops: Any = told.hops
        cells = (
            name,
            f"{told.tracks}",
            number(told.D_nm2_s),
            span(told.low, told.high),
            "–" if hops is None else number(hops.rate),
            number(told.localisation_nm),
            "?" if told.confined is None else ("yes" if told.confined else "no"),
        )
        tip = [f"{name}: {diffusion_words(told, unit)}", told.warning]
        if hops is not None and hasattr(hops, "low"):
            tip.insert(1, f"hops between sites: {number(hops.rate)} {rate}"
                          f" ({span(hops.low, hops.high)})")  # fmt: skip
        rows.append((cells, "\n".join(filter(None, tip))))
    return rows


def diffusion_words(told: Diffusion, unit: str) -> str:
    """D with its interval, and the test of confinement, in words."""
    words = f"D = {number(told.D_nm2_s)} {unit}, 95 % {span(told.low, told.high)}; {told.method}"
    if math.isfinite(told.confinement_p):
        words += f"; a free walk looks as confined as this with p = {told.confinement_p:.2g}"
    return words


@dataclass(frozen=True)
class TransitionTable:
    """Transitions between classes, rows from, columns to.

    Attributes
    ----------
    names
        Of the classes that occur in tracks.
    cells, spans, tips
        Probability, its 95 % interval and tooltip of each, as text.
    line
        What is known of the matrix as a whole.
    """

    names: tuple[str, ...]
    cells: tuple[tuple[str, ...], ...]
    spans: tuple[tuple[str, ...], ...]
    tips: tuple[tuple[str, ...], ...]
    line: str


#: What transitions may be between: key, words, tip.
TRANSITIONS = (
    ("transitions", "classes, as seen", "Classes of a find from frame to frame, counted"),
    (
        "hidden",
        "classes, behind what is mistaken",
        "Hidden Markov model: without the changes that come of one class being taken for another",
    ),
    (
        "configurations",
        "configurations",
        "What neighbouring finds make together, e.g. a dopant with one or two vacancies beside it",
    ),
)


def transition_table(defects: Defects, key: str = "transitions") -> TransitionTable | None:
    """One of `TRANSITIONS`; None where there are none."""
    run = defects.run
    told: Any = None if run is None else getattr(run.followed, key, None)
    if told is None:
        return None
    counts = np.asarray(told.counts)
    kept = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1)).tolist()
    names = tuple(str(told.names[k]) for k in kept)
    cells, spans, tips = [], [], []
    for i in kept:
        cells.append(tuple(f"{told.probability[i, j]:.3f}" for j in kept))
        spans.append(tuple(f"{told.low[i, j]:.3f}–{told.high[i, j]:.3f}" for j in kept))
        tips.append(
            tuple(
                f"{told.names[i]} → {told.names[j]}: {told.probability[i, j]:.3f} a frame,"
                f" 95 % {told.low[i, j]:.3f}–{told.high[i, j]:.3f}, seen {counts[i, j]:.3g} times"
                for j in kept
            )
        )
    return TransitionTable(names, tuple(cells), tuple(spans), tuple(tips), transition_line(told))


def transition_line(told: Any) -> str:
    """What a transition matrix says as a whole, in one line."""
    parts = []
    second = float(getattr(told, "second_eigenvalue", math.nan))
    if math.isfinite(second):
        parts.append(f"|λ₂| {abs(second):.2f}")
    implied = float(getattr(told, "implied_time_s", math.nan))
    if math.isfinite(implied):
        parts.append(f"relaxes in {number(implied)} s")
    p = getattr(told, "memory_p", math.nan)
    if p is not None and math.isfinite(float(p)):
        parts.append(f"memory beyond one frame: p {float(p):.2g}")
    if getattr(told, "memoryless", False):
        parts.append("no state lasts: each frame is drawn anew")
    parts += [str(line) for line in getattr(told, "warnings", ())]
    return " · ".join(parts)


def number(value: float) -> str:
    """Three digits that count; a dash for what is not known."""
    return "–" if not math.isfinite(value) else f"{value:.3g}"


def span(low: float, high: float) -> str:
    """An interval in words."""
    if not math.isfinite(low + high):
        return "–"
    return f"{low:.2g}{'–' if low >= 0 else ' … '}{high:.2g}"
