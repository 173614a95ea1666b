"""Which energies to measure: those that tell given references apart best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.spectra.references import Reference

Floats = NDArray[np.float64]
#: Starts from energies drawn at random, beside those that were thought of.
_RANDOM_STARTS = 8
#: So many energies at most are planned from several starts; with more, one does as well.
_FEW = 12


@dataclass(frozen=True, eq=False)
class Plan:
    """Energies and what they promise.

    Attributes
    ----------
    energies
        ``(n,)`` eV, rising.
    separations
        Names of two references → how many standard deviations of the noise part them, offset and
        thickness fitted, at the planned counts.
    worst
        The pair that is parted least.
    error
        Share of pixels of the worst pair that would be called the other one, without neighbours.
    """

    energies: Floats
    separations: dict[tuple[str, str], float]
    worst: tuple[str, str]
    error: float

    @property
    def least(self) -> float:
        """Separation of the worst pair."""
        return self.separations[self.worst]


def plan_energies(
    references: Sequence[Reference],
    n: int,
    counts: float,
    candidates: Floats | None = None,
    *,
    optical_density: float = 1.0,
) -> Plan:
    """The `n` energies that part the two most alike references furthest.

    The separation of two spectra is the distance of one from the other in standard deviations of
    Poisson noise, after an offset and the thickness were fitted (the smaller one, as each may be
    fitted by the other): the signal to noise ratio with which a pixel is told.  Energies are
    taken one by one where they add most to the smallest separation (greedy max-min), then
    exchanged as long as that helps (Fedorov 1972); few energies from several starts.

    Parameters
    ----------
    references
        Two at least.
    n
        Number of energies, three at least (an offset and a thickness are fitted too).
    counts
        Photons a pixel and energy beside the sample.
    candidates
        Energies to choose from, eV; None: 400 over the range that all references cover.
    optical_density
        Of the sample at its strongest energy.

    Raises
    ------
    BadInputError
        If there are too few references, energies or counts.
    """
    if len(references) < 2:
        raise BadInputError("a plan needs two references at least")
    if n < 3:
        raise BadInputError("a plan needs three energies at least: offset, thickness and phase")
    if not counts > 0:
        raise BadInputError("a plan needs the photons a pixel and energy")
    if candidates is None:
        low = max(float(r.energies[0]) for r in references)
        high = min(float(r.energies[-1]) for r in references)
        if low >= high:
            raise BadInputError("the references share no energies")
        candidates = np.linspace(low, high, 400)
    curves = np.stack([r.at(candidates) for r in references])
    known = np.isfinite(curves).all(axis=0)
    candidates, curves = np.asarray(candidates)[known], curves[:, known]
    if len(candidates) < n:
        raise BadInputError(f"{len(candidates)} energies are to choose from, not {n}")
    curves = curves * (optical_density / curves.max())
    pairs = list(combinations(range(len(references)), 2))
    tables = [_pair_products(curves[a], curves[b], counts) for a, b in pairs]

    chosen = _chosen(curves, tables, n)
    names = [reference.name for reference in references]
    separations = {
        (names[a], names[b]): float(np.sqrt(_separation(table[chosen].sum(axis=0))))
        for (a, b), table in zip(pairs, tables, strict=True)
    }
    worst = min(separations, key=lambda pair: separations[pair])
    from scipy.special import ndtr

    return Plan(
        np.sort(candidates[chosen]), separations, worst, float(ndtr(-separations[worst] / 2))
    )


def _pair_products(a: Floats, b: Floats, counts: float) -> Floats:
    """Of each energy, what a weighted fit of b by a and an offset is made of ``(E, 6)``."""
    w = counts * np.exp(-(a + b) / 2)
    return np.stack((w, w * a, w * b, w * a * a, w * a * b, w * b * b), axis=-1)


def _separation(sums: Floats) -> float:
    """Squared distance of each from the line through the other, offset fitted: residual chi².

    The smaller of both: a pixel of either must not pass for the other.
    """
    return float(_many(np.zeros(6), sums[None])[0])


def _many(base: Floats, table: Floats) -> Floats:
    """`_separation` of a sum with each energy added, all at once."""
    s, sa, sb, saa, sab, sbb = (base + table).T
    s = np.maximum(s, 1e-300)
    aa, ab, bb = saa - sa * sa / s, sab - sa * sb / s, sbb - sb * sb / s
    longer = np.maximum(aa, bb)
    return np.where(longer > 1e-12, np.maximum(aa * bb - ab * ab, 0) / np.maximum(longer, 1e-12), 0)


def _chosen(curves: Floats, tables: list[Floats], n: int) -> list[int]:
    """The best of what several starts lead to: one energy in exchange may lead nowhere better."""
    size = curves.shape[1]
    rng = np.random.default_rng(0)
    starts = [_start(curves, tables)]
    if n <= _FEW:
        starts += [_start(curves, [table]) for table in tables if len(tables) > 1]
        starts += [rng.choice(size, n, replace=False).tolist() for _ in range(_RANDOM_STARTS)]
    found, reached = starts[0], -1.0
    for chosen in starts:
        while len(chosen) < n:
            chosen.append(_best(chosen, size, tables))
        trial, there = _exchange(chosen[:n], size, tables)
        if there > reached:
            found, reached = trial, there
    return found


def _start(curves: Floats, tables: list[Floats]) -> list[int]:
    """The first and the strongest energy, and the third that adds most."""
    first = int(np.argmin(curves.mean(axis=0)))
    second = int(np.argmax(curves.mean(axis=0)))
    if first == second:
        second = (first + 1) % curves.shape[1]
    chosen = [first, second]
    chosen.append(_best(chosen, curves.shape[1], tables))
    return chosen


def _best(chosen: list[int], n: int, tables: list[Floats]) -> int:
    """The energy that, added, leaves the largest smallest separation."""
    gain = np.min([_many(table[chosen].sum(axis=0), table) for table in tables], axis=0)
    gain[chosen] = -1
    return int(np.argmax(gain))


def _exchange(chosen: list[int], n: int, tables: list[Floats]) -> tuple[list[int], float]:
    """One energy after the other is exchanged for a better one, until none is; what is reached."""
    best = list(chosen)

    def value(some: list[int]) -> float:
        return min(_separation(table[some].sum(axis=0)) for table in tables)

    reached = value(best)
    for _ in range(20):
        better = False
        for place in range(len(best)):
            rest = best[:place] + best[place + 1 :]
            new = _best(rest, n, tables)
            trial = [*rest, new]
            there = value(trial)
            if there > reached * (1 + 1e-9):
                best, reached, better = trial, there, True
        if not better:
            break
    return best, reached
