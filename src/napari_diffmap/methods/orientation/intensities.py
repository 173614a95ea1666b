"""Which intensities a scan's patterns follow: dynamical, or kinematic and how wide.

Real crystals scatter dynamically, and the two-beam mean with its wide spread fits
them.  Precession, very thin crystals and kinematic simulations follow |F|² and the
excitation error closely: there a model of the right width and a narrow spread tells
orientations apart that the wide one takes for twins.  The scan's own patterns
choose: the log odds of the best answers, summed over patterns, are what each model
is worth (its evidence).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import torch

from napari_diffmap.methods.orientation.odds import DYNAMICAL_SHAPE, IntensityModel

if TYPE_CHECKING:
    from napari_diffmap.methods.orientation.search import OrientationSearch
    from napari_diffmap.methods.registration.spots import PeakBatch

#: A kinematic model of wide spread must explain so much more than the dynamical one.
_CLEARLY = 1.08
#: Excitation widths, 1/Å, and shapes of the spread compared first.
_WIDTHS, _FIRST_SHAPES = (0.008, 0.013, 0.02, 0.03), (DYNAMICAL_SHAPE, 6.0)
#: What a kinematic model is refined in; widths are factors.
_SHAPES, _POWERS, _FACTORS = (
    (DYNAMICAL_SHAPE, 2.0, 6.0, 16.0),
    (0.5, 0.7, 1.0),
    (0.6, 0.84, 1.0, 1.19, 1.67),
)
#: From this shape on a spread is narrow: dynamical intensities never follow so closely.
_NARROW = 6.0
#: Patterns of a batch, and how many batches the refinement looks at; the last choice
#: looks at all.
_PATTERNS, _EXPLORED = 16, 2

Report = Callable[[int, int, str], None]


def models_for(
    choice: Literal["measured", "dynamical", "kinematic"], thickness: float
) -> tuple[IntensityModel, ...]:
    """Models that `choose_intensities` compares first; the thickness in Å."""
    dynamical = (IntensityModel(thickness=thickness),)
    kinematic = tuple(
        IntensityModel(sigma=width, shape=shape) for shape in _FIRST_SHAPES for width in _WIDTHS
    )
    if choice == "dynamical":
        return dynamical
    return kinematic if choice == "kinematic" else dynamical + kinematic


def kind(model: IntensityModel) -> str:
    """Whether a model is dynamical, or kinematic of narrow or wide spread."""
    if model.sigma is None:
        return "dynamical"
    return "narrow" if model.shape >= _NARROW else "wide"


def choose_intensities(
    search: OrientationSearch, peaks: PeakBatch, progress: Report | None = None
) -> dict[str, float]:
    """Take the intensity model that explains spots of some patterns best.

    The first of the search's models stays unless another explains clearly more; a
    kinematic one is refined in its spread, its power of |F|² and its width.

    Parameters
    ----------
    search
        Whose model is chosen.
    peaks
        Spots of some patterns.
    progress
        Called with (done, total, what); may raise to stop.

    Returns
    -------
    dict
        For each model tried the mean log odds of the best answers.
    """
    models = search.settings.intensities
    parts = torch.arange(len(peaks), device=search.device).split(min(search.batch, _PATTERNS))
    most = len(parts) + len(models) + 2 * len(_SHAPES) + len(_FACTORS) * len(_POWERS)
    pools = []
    for number, rows in enumerate(parts):
        if progress is not None:
            progress(number, most, "intensities: candidates")
        pools.append(search.prepared(peaks.take(rows)))
    search.measure_places(pools)
    tried: dict[IntensityModel, float] = {}

    def evidence(model: IntensityModel) -> float:
        if model not in tried:
            if progress is not None:
                progress(len(parts) + len(tried), most, f"intensities: {model}")
            tried[model] = search.evidence(model, pools[:_EXPLORED])
        return tried[model]

    best = max(models, key=evidence)
    kinematic = [model for model in models if model.sigma is not None]
    if kinematic:
        best = max(kinematic, key=evidence)
        best = max((replace(best, shape=shape) for shape in _SHAPES), key=evidence)
        # Near a zone axis a wider excitation passes for a higher power: both at once.
        width = best.sigma or 0.0
        pairs = [(factor * width, power) for factor in _FACTORS for power in _POWERS]
        best = max((replace(best, sigma=w, power=power) for w, power in pairs), key=evidence)
        best = max((replace(best, shape=shape) for shape in _SHAPES), key=evidence)
    if 0 < len(kinematic) < len(models):
        # A wide spread about a Gaussian fits dynamical patterns nearly as well: it must do
        # clearly better.  A narrow one never does unless intensities are kinematic.
        kinds = [[m for m in tried if kind(m) == k] for k in ("dynamical", "narrow", "wide")]
        finals = [max(models, key=evidence) for models in kinds if models]
        tried.update({model: search.evidence(model, pools) for model in finals})
        best = max(finals, key=lambda m: tried[m] / (_CLEARLY if kind(m) == "wide" else 1.0))
    search.use(best)
    if progress is not None:
        progress(most, most, f"intensities: {best}")
    return {str(model): odds for model, odds in tried.items()}
