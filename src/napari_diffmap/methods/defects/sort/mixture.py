"""Classes by looks: a Gaussian mixture of crops, each turned as the site's symmetry lets it."""

from __future__ import annotations

import warnings as _python_warnings
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.finds import Finds
from napari_diffmap.methods.defects.parameters import SortParameters
from napari_diffmap.methods.defects.sort.answer import DefectClasses, class_averages
from napari_diffmap.methods.defects.sort.crops import operations, turned

Floats = NDArray[np.float64]
Crops = NDArray[np.float32]
#: Most classes tried, principal components kept, finds that mixtures are fitted to, resamplings.
_CLASSES, _COMPONENTS, _FITTED, _RESAMPLED = 8, 15, 4000, 10
#: A number of classes whose BIC is this near to the least is as good; the fewest are taken.
_NEAR: Final = 10.0
#: Fewer finds than this are not sorted; crops of which more is unknown are left out.
_FEWEST, _UNKNOWN = 10, 0.25
#: Turn of all views, radians: no line of pixels stays one under any operation.
_ASKEW: Final = np.deg2rad(15.0)
#: Mean agreement with resampled finds below which classes are not to be relied on.
_STABLE: Final = 0.8


@dataclass(frozen=True, eq=False)
class _Looks:
    """Crops as numbers.

    Attributes
    ----------
    views
        ``(6, n, d)`` each crop under each operation, projected.
    chosen
        ``(n,)`` operation that each crop is seen under.
    """

    views: Floats
    chosen: NDArray[np.intp]

    @property
    def points(self) -> Floats:
        """``(n, d)``."""
        return np.asarray(self.views[self.chosen, np.arange(len(self.chosen))])


def sort_by_mixture(crops: Crops, finds: Finds, parameters: SortParameters) -> DefectClasses:
    """Sort finds by what they look like.

    Each crop is seen under the operation of C3v, the symmetry of a site, that makes it most like
    the others; principal components of these views are modelled by Gaussian mixtures with
    diagonal and with common covariances.

    Parameters
    ----------
    crops
        ``(n, c, c)`` upright (`cut_crops`), NaN where unknown.
    finds
        As many.
    parameters
        Number of classes, seed.

    Raises
    ------
    BadInputError
        If there are too few finds to sort.
    """
    if len(crops) != len(finds):
        raise BadInputError(f"{len(crops)} crops do not fit {len(finds)} finds")
    known = np.isfinite(crops).mean(axis=(1, 2)) >= 1 - _UNKNOWN
    if known.sum() < _FEWEST:
        raise BadInputError(f"a mixture needs {_FEWEST} finds within the image: sort by sites")
    rng = np.random.default_rng(parameters.seed)
    with _python_warnings.catch_warnings():
        _python_warnings.simplefilter("ignore")  # fits that need more rounds are still fits
        return _sorted(crops, known, parameters.classes, rng)


def _sorted(
    crops: Crops, known: NDArray[np.bool_], wanted: int | None, rng: np.random.Generator
) -> DefectClasses:
    from sklearn.metrics import adjusted_rand_score

    views = _views(_filled(crops[known]))
    looks = _projected(views, _asymmetric(views), rng)
    numbers = [wanted] if wanted is not None else range(1, _CLASSES + 1)
    fits = {k: _best(looks.points, k, rng) for k in numbers if k <= known.sum() // 5 or wanted}
    chosen = _fewest({k: fit.bic(looks.points) for k, fit in fits.items()})
    # views that suit the classes better, and components that suit these views
    for _ in range(2):
        score = np.stack([fits[chosen].score_samples(view) for view in looks.views])
        better = score.argmax(axis=0)
        if (better == looks.chosen).mean() > 0.99:
            break
        looks = _projected(views, better, rng)
        fits = {k: _best(looks.points, k, rng) for k in fits}
        chosen = _fewest({k: fit.bic(looks.points) for k, fit in fits.items()})
    points, fit = looks.points, fits[chosen]
    bic = {k: float(one.bic(points)) for k, one in fits.items()}
    icl = {k: bic[k] + 2 * _entropy(one.predict_proba(points)) for k, one in fits.items()}
    label = fit.predict(points)
    agreement = []
    for _ in range(_RESAMPLED if chosen > 1 else 0):
        some = rng.choice(len(points), min(len(points), _FITTED))
        other = _mixture(chosen, fit.covariance_type, rng, 1).fit(points[some])
        agreement.append(adjusted_rand_score(label, other.predict(points)))
    order = np.argsort(-np.bincount(label, minlength=chosen), kind="stable")
    class_id = np.full(len(crops), -1, dtype=np.int64)
    class_id[known] = np.argsort(order)[label]
    probability = np.full((len(crops), chosen), np.nan, dtype=np.float32)
    probability[known] = fit.predict_proba(points)[:, order]
    seen = crops[known].copy()
    for k, (angle, mirrored) in enumerate(operations(6)):
        mine = looks.chosen == k
        seen[mine] = _turned_with_gaps(seen[mine], angle, mirrored)
    stability = float(np.mean(agreement)) if agreement else float("nan")
    told = []
    if stability < _STABLE:
        told.append(
            f"classes are not stable: resampled finds agree by {stability:.2f} of 1 (Rand index);"
            " ask for fewer"
        )
    if not known.all():
        told.append(f"{int((~known).sum())} finds at the border were not sorted")
    return DefectClasses(
        names=tuple(f"class {i + 1}" for i in range(chosen)),
        class_id=class_id,
        probability=probability,
        averages=class_averages(seen, class_id[known], chosen),
        bic=bic,
        icl=icl,
        stability=stability,
        warnings=tuple(told),
    )


def _filled(crops: Crops) -> Crops:
    """Crops without their own level and without NaN, all divided by one contrast."""
    level = np.nanmedian(crops, axis=(1, 2), keepdims=True)
    flat = crops - level
    mean = np.nan_to_num(np.nanmean(flat, axis=0))
    flat = np.where(np.isfinite(flat), flat, mean)
    return np.asarray(flat / max(float(flat.std()), 1e-12), dtype=np.float32)


def _disc(side: int) -> Floats:
    """1 in the inscribed circle, falling to 0 at its rim: what turning leaves inside."""
    at = np.arange(side) - side // 2
    radius = np.hypot(at[:, None], at[None])
    return np.clip(side / 2 - radius, 0, 1)


def _views(crops: Crops) -> Crops:
    """``(6, n, c c)``: each crop under each operation, all of it turned a little.

    Where interpolation blurs all views alike, none is told from the others by its sharpness.
    """
    disc = _disc(crops.shape[1])
    n = len(crops)
    return np.stack(
        [
            (turned(crops, angle + _ASKEW, mirrored) * disc).reshape(n, -1)
            for angle, mirrored in operations(6)
        ]
    )


def _asymmetric(views: Crops) -> NDArray[np.intp]:
    """For each crop, the view that leans most towards one direction of no symmetry."""
    side = round(np.sqrt(views.shape[2]))
    at = np.arange(side) - side // 2
    up, right = np.meshgrid(at, at, indexing="ij")
    lean = np.sin(np.deg2rad(20)) * right - np.cos(np.deg2rad(20)) * up
    score = views @ (lean * _disc(side)).ravel().astype(np.float32)
    return np.asarray(score.argmax(axis=0))


def _projected(views: Crops, chosen: NDArray[np.intp], rng: np.random.Generator) -> _Looks:
    from sklearn.decomposition import PCA

    n = views.shape[1]
    count = int(min(_COMPONENTS, max(n // 5, 1), views.shape[2]))
    pca = PCA(count, random_state=int(rng.integers(2**31)))
    pca.fit(views[chosen, np.arange(n)])
    return _Looks(np.stack([pca.transform(view) for view in views]).astype(np.float64), chosen)


def _mixture(classes: int, kind: str, rng: np.random.Generator, starts: int = 3) -> Any:
    from sklearn.mixture import GaussianMixture

    seed = int(rng.integers(2**31))
    return GaussianMixture(
        classes, covariance_type=kind, n_init=starts, random_state=seed, reg_covar=1e-4
    )


def _best(points: Floats, classes: int, rng: np.random.Generator) -> Any:
    """The better of mixtures with diagonal and with common covariances, by BIC."""
    some = points
    if len(points) > _FITTED:
        some = points[rng.choice(len(points), _FITTED, replace=False)]
    fits = [_mixture(classes, kind, rng).fit(some) for kind in ("diag", "tied")]
    return min(fits, key=lambda fit: fit.bic(points))


def _fewest(bic: dict[int, float]) -> int:
    """Fewest classes whose BIC is as good as the least."""
    least = min(bic.values())
    return min(k for k, value in bic.items() if value <= least + _NEAR)


def _entropy(membership: Floats) -> float:
    q = np.clip(membership, 1e-300, 1)
    return float(-(q * np.log(q)).sum())


def _turned_with_gaps(crops: Crops, angle: float, mirrored: bool) -> Crops:
    """Crops turned; what lay beyond the border stays unknown, and so do the corners."""
    known = np.isfinite(crops)
    values = turned(np.where(known, crops, 0).astype(np.float32), angle, mirrored)
    there = turned(known.astype(np.float32), angle, mirrored)
    inside = (there > 0.99) & (_disc(crops.shape[1]) > 0)
    return np.where(inside, values, np.nan).astype(np.float32)
