"""Measured patterns with known orientations, to learn from and to judge by.

Pixels of one grain show nearly one pattern.  Split at random, what is learnt and what is
judged share grains, and the figure measures memory: 0.8° where whole grains held out give
50° (nearest neighbour, simulated map).  So patterns are split by grain, and a split that
shares one is refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.grains.find import find_grains
from napari_diffmap.methods.networks.patterns import Truth
from napari_diffmap.methods.orientation.again import spots_at
from napari_diffmap.methods.orientation.frames import in_detector_frame
from napari_diffmap.methods.orientation.method import OrientationMethod, join_peaks
from napari_diffmap.methods.registration.spots import PeakBatch

if TYPE_CHECKING:
    from napari_diffmap.maps.orientation_map import OrientationMap
    from napari_diffmap.scan.scan import Scan

#: An answer so reliable is taken for a label where no one corrected it.
SURE = 0.9
#: Share of the grains that judge.
JUDGING = 0.2


@dataclass(frozen=True, eq=False)
class Split:
    """Which patterns are learnt from and which judge, ``(n,)`` bool each."""

    learn: NDArray[np.bool_]
    judge: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Spots of measured patterns and what they are of.

    Attributes
    ----------
    peaks
        ``n`` patterns.
    matrices, phase
        ``(n, 3, 3)`` crystal → laboratory (of the detector), ``(n,)`` number of the phase.
    grain
        ``(n,)`` grain that each lies in.
    """

    peaks: PeakBatch
    matrices: Tensor
    phase: Tensor
    grain: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.grain)

    def take(self, chosen: NDArray[np.bool_]) -> Labelled:
        """Some of the patterns."""
        index = torch.as_tensor(np.flatnonzero(chosen))
        return Labelled(
            self.peaks.take(index), self.matrices[index], self.phase[index], self.grain[chosen]
        )

    def and_also(self, other: Labelled) -> Labelled:
        """These and the patterns of another scan; its grains are others."""
        return Labelled(
            join_peaks([plain(self.peaks), plain(other.peaks)]),
            torch.cat((self.matrices, other.matrices)),
            torch.cat((self.phase, other.phase)),
            np.concatenate((self.grain, other.grain + self.grain.max() + 1)),
        )

    def draw(self, batch: int, random: torch.Generator) -> tuple[PeakBatch, Truth]:
        """Patterns drawn evenly over the grains, each turned in the plane at random."""
        grains, place = np.unique(self.grain, return_inverse=True)
        first = torch.randint(len(grains), (batch,), generator=random).numpy()
        share = torch.rand(batch, generator=random).numpy()
        order = np.argsort(place, kind="stable")
        starts = np.searchsorted(place[order], np.arange(len(grains) + 1))
        size = np.diff(starts)[first]
        index = torch.as_tensor(order[starts[first] + (share * size).astype(int)])
        turn = 2 * np.pi * torch.rand(batch, generator=random)
        cos, sin = torch.cos(turn), torch.sin(turn)
        zero, one = torch.zeros_like(cos), torch.ones_like(cos)
        about = torch.stack((cos, -sin, zero, sin, cos, zero, zero, zero, one), -1)
        about = about.reshape(batch, 3, 3)
        p = self.peaks.take(index)
        kx = cos[:, None] * p.kx - sin[:, None] * p.ky
        ky = sin[:, None] * p.kx + cos[:, None] * p.ky
        peaks = PeakBatch(kx, ky, p.intensity, p.trust, noise=p.noise)
        share_ = torch.ones(batch, 1)
        return peaks, Truth(
            (about @ self.matrices[index])[:, None], self.phase[index][:, None], share_
        )


def labelled(
    scan: Scan,
    method: OrientationMethod,
    found: OrientationMap,
    *,
    corrected: NDArray[np.bool_] | None = None,
    most: int = 20_000,
    seed: int = 0,
) -> Labelled:
    """Labels of a map: what was corrected by hand, and what is reliable.

    Parameters
    ----------
    scan, method
        What was mapped, and a method prepared on it.
    found
        The map, corrections in it.
    corrected
        ``(y, x)`` positions that a user has corrected.
    most
        Patterns at most; drawn evenly over the grains, corrected ones first.
    seed
        Of that choice.

    Raises
    ------
    BadInputError
        If nothing in the map is sure enough to learn from.
    """
    assert method.geometry is not None
    by_hand = np.zeros(found.shape, bool) if corrected is None else corrected
    with np.errstate(invalid="ignore"):
        sure = (found.reliability >= SURE) & (found.ambiguity == 0)
    usable = found.indexed & (sure | by_hand)
    grains = find_grains(found)
    usable &= grains.labels > 0
    pixels = np.flatnonzero(usable.reshape(-1))
    if not len(pixels):
        raise BadInputError("nothing in this map is sure enough to learn from: correct some of it")
    if len(pixels) > most:
        rng = np.random.default_rng(seed)
        grain = grains.labels.reshape(-1)[pixels]
        # Rare grains and corrections first: the rank of a pixel within its grain.
        shuffled = rng.permutation(len(pixels))
        rank = np.zeros(len(pixels))
        for one in np.unique(grain):
            here = shuffled[grain[shuffled] == one]
            rank[here] = np.arange(len(here))
        rank[by_hand.reshape(-1)[pixels]] = -1
        pixels = np.sort(pixels[np.argsort(rank, kind="stable")[:most]])
    peaks = join_peaks([plain(piece) for piece, _ in spots_at(scan, method, pixels)])
    rotations = found.rotations.reshape(-1, *found.rotations.shape[2:])[pixels, 0]
    own = in_detector_frame(rotations.astype(np.float64), method.geometry)
    matrices = rotation_matrices(torch.as_tensor(own)).transpose(-1, -2).float()
    phase = found.phase_ids.reshape(-1, found.phase_ids.shape[2])[pixels, 0]
    return Labelled(
        peaks,
        matrices,
        torch.as_tensor(phase.astype(np.int64)),
        grains.labels.reshape(-1)[pixels].astype(np.int64),
    )


def plain(peaks: PeakBatch) -> PeakBatch:
    """Spots without what stands between them."""
    return PeakBatch(peaks.kx, peaks.ky, peaks.intensity, peaks.trust, noise=peaks.noise)


def split_by_grain(grain: NDArray[np.integer], share: float = JUDGING, seed: int = 0) -> Split:
    """Whole grains to learn from, whole grains to judge by.

    Parameters
    ----------
    grain
        ``(n,)`` grain of each pattern.
    share
        Of the grains that judge; at least one, and at least one to learn from.
    seed
        Which.

    Raises
    ------
    BadInputError
        If there is but one grain.
    """
    names = np.unique(grain)
    if len(names) < 2:
        raise BadInputError("one grain cannot both be learnt and judge: label a second one")
    count = int(np.clip(round(share * len(names)), 1, len(names) - 1))
    held = np.random.default_rng(seed).permutation(names)[:count]
    judge = np.isin(grain, held)
    split = Split(~judge, judge)
    check_split(split, grain)
    return split


def check_split(split: Split, grain: NDArray[np.integer]) -> None:
    """Refuse a split that leaks.

    Raises
    ------
    BadInputError
        If a grain is on both sides, a pattern is, or one side is empty.
    """
    if (split.learn & split.judge).any():
        raise BadInputError("a pattern is both learnt from and judged by: split by grain")
    both = np.intersect1d(grain[split.learn], grain[split.judge])
    if len(both):
        raise BadInputError(
            f"{len(both)} grain{'s are' if len(both) > 1 else ' is'} both learnt from and judged"
            " by: the figure would measure memory; split by grain"
        )
    if not split.learn.any() or not split.judge.any():
        raise BadInputError("a split needs patterns on both sides")
