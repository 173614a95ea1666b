"""Several crystals in one pattern: the spots of one are faded, the rest is matched again.

Source of the idea: Ophus et al., *Microsc. Microanal.* 28 (2022) 390.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from napari_diffmap.methods.orientation.answers import Answers
from napari_diffmap.methods.orientation.batches import evened
from napari_diffmap.methods.registration.spots import PeakBatch

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.search import OrientationSearch

#: A further crystal is looked for where so much of the amplitude, in so many clear
#: spots, is left.
_LEFT_SHARE = 0.12
_LEFT_SPOTS = 3
#: It is believed where no more than this share of single crystals would reach its log
#: odds by chance, over all orientations tried ...
_BY_CHANCE = 0.01
#: ... and so many of the spots left are its own.  Real spots that the first crystal did
#: not account for stand where they like: an orientation has three angles to meet three
#: of several, and with one in a hundred places predicted only the fourth is evidence.
#: Three will do when they are all there is and nothing else explains them as well.
_ENOUGH_MET = 4
_SURELY = 0.69
#: Spots a crystal may show: those of more than this share of its strongest height.
_SEEN = 0.05


@dataclass(eq=False)
class Crystals:
    """How many crystals the patterns of a batch show.

    Attributes
    ----------
    count
        ``(b,)`` crystals believed, the first included; 0 without an answer.
    score
        ``(b,)`` score of the second in what the first leaves; 0 without one.
    share
        ``(b,)`` share of the measured amplitude that the second explains.
    """

    count: Tensor
    score: Tensor
    share: Tensor

    def take(self, index: Tensor) -> Crystals:
        """Those of some of the patterns."""
        return Crystals(self.count[index], self.score[index], self.share[index])


def fade(weight: Tensor, peaks: PeakBatch, kx: Tensor, ky: Tensor, edge: float) -> Tensor:
    """Weights of the spots once those of a crystal are taken away.

    Parameters
    ----------
    weight
        ``(b, p)`` present weights.
    peaks
        Measured spots.
    kx, ky
        ``(b, s)`` places where the crystal shows spots, 1/Å.
    edge
        Edge of the kernel, 1/Å: a spot nearer than half of it goes, one farther
        out than all of it stays, between them the weight rises linearly.
    """
    dx = peaks.kx[:, :, None] - kx[:, None]
    dy = peaks.ky[:, :, None] - ky[:, None]
    nearest = torch.sqrt((dx * dx + dy * dy).amin(dim=2))
    return weight * ((nearest - 0.5 * edge) / (0.5 * edge)).clamp(0, 1)


def further_crystals(
    search: OrientationSearch, peaks: PeakBatch, first: Answers, most: int, power: float
) -> Crystals:
    """Look for further crystals in what the answers so far leave.

    The k-th crystal takes the k-th place among the answers of `first`, in place.

    Parameters
    ----------
    search
        The prepared search.
    peaks
        Spots of a batch.
    first
        Its answers.
    most
        Most crystals of a pattern.
    power
        Exponent put on intensities when shares are told.
    """
    amplitude = peaks.clear * search.amplitudes(peaks, power)
    total = amplitude.sum(1).clamp_min(1e-9)
    weight = torch.ones_like(amplitude)
    found = Crystals((first.phase[:, 0] >= 0).long(), torch.zeros_like(total), total * 0)
    rows, answer = torch.nonzero(found.count).reshape(-1), first
    index = rows
    for crystal in range(1, most):
        kx, ky = search.predicted(answer, _SEEN)
        weight[rows] = fade(weight[rows], peaks.take(rows), kx[index], ky[index], search.widths[1])
        rest = faded(peaks, weight)
        share = (amplitude * weight).sum(1) / total
        tried = (rest.count[rows] >= _LEFT_SPOTS) & (share[rows] >= _LEFT_SHARE)
        rows = rows[tried]
        if not len(rows):
            break
        # Filled up, and as wide as the spots that are left: what is in the batch must not matter.
        rest, mine = evened(rest.take(rows)), torch.arange(len(rows), device=rows.device)
        answer, rest = search.match(rest, 1).take(mine), rest.take(mine)
        known = search.same_as(first, rows, crystal, answer)
        index = torch.nonzero(_believed(answer, rest, search.tried) & ~known).reshape(-1)
        rows = rows[index]
        if not len(rows):
            break
        search.put(first, rows, crystal, answer.take(index))
        found.count[rows] += 1
        if crystal == 1:
            found.score[rows] = answer.score[index, 0]
            found.share[rows] = answer.explained[index, 0] * share[rows]
    return found


def faded(peaks: PeakBatch, weight: Tensor) -> PeakBatch:
    """The spots with less weight; those of weight 0 are gone."""
    kept = torch.where(weight > 0, peaks.intensity, 0.0)
    hidden = (weight < 1) & (peaks.intensity > 0)
    if peaks.hidden is not None:
        hidden |= peaks.hidden
    return replace(peaks, intensity=kept, trust=peaks.trust * weight, hidden=hidden)


def _believed(answer: Answers, rest: PeakBatch, tried: int) -> Tensor:
    """Whether the best answers to what was left are crystals, ``(r,)`` bool."""
    clear = rest.clear
    left = clear & answer.unexplained[:, : clear.shape[1]]
    met = (clear & ~left).sum(dim=1)
    odds = answer.odds[:, 0]
    margin = odds - torch.maximum(answer.rival, answer.rival_phase)
    alone = (met >= _LEFT_SPOTS) & ~left.any(dim=1) & (margin >= _SURELY)
    return (odds >= math.log(tried / _BY_CHANCE)) & ((met >= _ENOUGH_MET) | alone)
