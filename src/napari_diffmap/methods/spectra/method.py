"""The phase map of a stack: density, spectra, a method's answer, its reliability and doubts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.methods.method import Report
from napari_diffmap.methods.spectra.clusters import Clusters
from napari_diffmap.methods.spectra.correlation import ranked
from napari_diffmap.methods.spectra.density import Density
from napari_diffmap.methods.spectra.doubt import doubts
from napari_diffmap.methods.spectra.normal import Floats
from napari_diffmap.methods.spectra.parameters import (
    METHOD_WORDS,
    METHODS,
    MethodName,
    SpectralParameters,
)
from napari_diffmap.methods.spectra.references import Reference, matrix
from napari_diffmap.methods.spectra.reliability import twin
from napari_diffmap.methods.spectra.telling import Spectra, Told, spectra_of, tell

#: Answers kept for each pixel.
_N_BEST = 3
#: Methods that cost a second at most, run beside the chosen one.
QUICK: tuple[MethodName, ...] = tuple(name for name in METHODS if name != "gmvae")


@dataclass(frozen=True)
class MethodRow:
    """A line of the table of methods.

    Attributes
    ----------
    name, words
        The method, and what it does.
    agreement
        Share of the mapped pixels in which it says what the map says.
    unsure
        Share in which it cannot tell its two best apart, by its own test.
    seconds
        That it took.
    shares
        Share of each reference, in their order.
    clusters
        Effective number of clusters; None for methods without.
    """

    name: str
    words: str
    agreement: float
    unsure: float
    seconds: float
    shares: tuple[float, ...]
    clusters: float | None = None


@dataclass(frozen=True, eq=False)
class PhaseAnswer:
    """What was found of every pixel ``(Y, X)``.

    Attributes
    ----------
    phase_ids, scores
        ``(Y, X, n_best)`` references, best first, and their Pearson correlations.
    reliability
        ``(Y, X)`` probability that the first is right.
    doubt
        ``(Y, X)`` codes of `SpectralDoubt`.
    fractions, errors
        ``(Y, X, M)``.
    extra
        Further maps by name.
    table
        A row a method.
    error
        Share of wrong first answers that the simulation promises; NaN without one.
    scale
        Reduced chi²: by how much the noise is larger than that of the photons.
    energies
        ``(E,)`` used, eV.
    clusters
        Spectra of the clusters, of methods that cluster.
    stable
        Mean stability of an ensemble; None without.
    warnings
        What the user must know.
    """

    phase_ids: NDArray[np.int16]
    scores: NDArray[np.float32]
    reliability: NDArray[np.float32]
    doubt: NDArray[np.uint8]
    fractions: NDArray[np.float32]
    errors: NDArray[np.float32]
    extra: dict[str, NDArray[np.float32]]
    table: tuple[MethodRow, ...]
    error: float
    scale: float
    energies: Floats
    clusters: Clusters | None
    stable: float | None
    warnings: tuple[str, ...]


class SpectralMethod:
    """Tells the phases of a stack by references.

    Parameters
    ----------
    parameters
        Of the map.
    references
        Two at least.

    Raises
    ------
    BadInputError
        If there are fewer than two references.
    """

    name = "phases"
    Parameters = SpectralParameters

    def __init__(
        self, parameters: SpectralParameters | None, references: Sequence[Reference]
    ) -> None:
        self.parameters = parameters or SpectralParameters()
        self.references = tuple(references)
        if len(self.references) < 2:
            raise BadInputError("add two references at least: --reference NAME=FILE")

    def chosen_energies(self, energies: Floats) -> NDArray[np.intp]:
        """Numbers of the energies that are used: those asked for that the references cover.

        Raises
        ------
        BadInputError
            If an energy asked for was not measured, or fewer than two are left.
        """
        wanted = self.parameters.energies
        chosen = np.arange(len(energies))
        if wanted is not None:
            step = float(np.median(np.diff(np.sort(energies)))) if len(energies) > 1 else 1.0
            nearest = np.array([int(np.argmin(np.abs(energies - e))) for e in wanted])
            far = [e for e, i in zip(wanted, nearest, strict=True) if abs(energies[i] - e) > step]
            if far:
                raise BadInputError(
                    f"energies {', '.join(f'{e:g}' for e in far)} eV were not measured: the stack"
                    f" holds {len(energies)} from {energies.min():.6g} to {energies.max():.6g} eV"
                )
            chosen = np.unique(nearest)
        curves = matrix(self.references, energies[chosen])
        covered = chosen[np.isfinite(curves).all(axis=0)]
        if len(covered) < 2:
            raise BadInputError(
                "fewer than two energies of the stack lie in the range of all references: check"
                " their energies (eV)"
            )
        return np.asarray(covered, dtype=np.intp)

    def answer(
        self,
        density: Density,
        *,
        device: str = "cpu",
        progress: Report | None = None,
        check: Callable[[], object] | None = None,
    ) -> PhaseAnswer:
        """Tell the phases of all pixels of the sample.

        Parameters
        ----------
        density
            Of all measured energies.
        device
            For the autoencoders.
        progress, check
            Told how far it is; may raise.

        Raises
        ------
        BadInputError
            If no pixel belongs to the sample, or the energies do not fit.
        """
        p = self.parameters
        chosen = self.chosen_energies(density.energies)
        warnings = _left_out(p, density.energies, chosen)
        part = density.at_energies(chosen)
        mask = part.particle & ~part.dark
        if not mask.any():
            raise BadInputError(
                "no pixel belongs to the sample: lower the sample threshold, or check I0"
            )
        if progress is not None:
            progress(0, 4, "fitting references")
        od, weights = part.pixels(mask)
        curves = matrix(self.references, part.energies)
        spectra = spectra_of(
            od, weights, mask, curves, part.energies, p, counting=part.counting, check=check
        )
        if progress is not None:
            progress(1, 4, f"telling phases ({p.method})")
        names: tuple[MethodName, ...] = QUICK if p.compare else ("posterior",)
        said: dict[MethodName, Told] = {}
        for name in dict.fromkeys(("posterior", p.method, *names)):
            said[name] = tell(name, spectra, p, device=device, progress=progress, check=check)
        told, first = said[p.method], said["posterior"]
        if progress is not None:
            progress(2, 4, "simulating the map")
        reliability, error = told.certainty, float("nan")
        if p.calibrate:
            same = twin(p.method, spectra, told, first, p, counting=part.counting, check=check)
            reliability, error = same.reliability(told.certainty), same.error
        if progress is not None:
            progress(3, 4, "looking for doubt")
        answer = self._assemble(part, spectra, told, first, reliability, error, said, warnings)
        if progress is not None:
            progress(4, 4, "phases told")
        return answer

    def _assemble(
        self,
        density: Density,
        spectra: Spectra,
        told: Told,
        first: Told,
        reliability: Floats,
        error: float,
        said: dict[MethodName, Told],
        warnings: list[str],
    ) -> PhaseAnswer:
        p, mask, m = self.parameters, spectra.mask, len(self.references)
        labels = told.labels
        unsure = told.unsure
        if p.method == "posterior" and p.calibrate:
            unsure = reliability < p.certainty
        composition = self._composition(spectra)
        codes = doubts(
            spectra, told, first, labels, unsure, density.saturated[mask], composition, p
        )
        doubt = np.full(mask.shape, SpectralDoubt.NO_DATA, dtype=np.uint8)
        doubt[mask] = codes
        correlation = spectra.plain.correlation()
        # The answer first, then by how well the spectrum agrees.
        order = correlation.copy()
        order[np.arange(len(labels)), labels] = 2
        ids, _ = ranked(order, min(_N_BEST, m))
        scores = np.take_along_axis(correlation, ids.astype(np.intp), axis=1)
        freedom = np.maximum(spectra.weighted.known - (spectra.unmixed.weights > 0).sum(axis=1), 1)
        extra = {
            "residual": spectra.unmixed.chi2 / spectra.scale / freedom,
            **told.extra,
            **{name: values for name, values in first.extra.items() if name not in told.extra},
        }
        extra.pop("partner", None)
        if composition is not None:
            extra["composition_error"] = composition[1]
        maps = {name: _plane(mask, values) for name, values in extra.items()}
        maps["thickness"] = density.thickness
        stable = told.extra.get("stability")
        return PhaseAnswer(
            _plane(mask, ids, -1, np.int16),
            _plane(mask, scores),
            _plane(mask, reliability),
            doubt,
            _plane(mask, spectra.unmixed.fractions()),
            _plane(mask, spectra.unmixed.errors(spectra.scale)),
            maps,
            tuple(_row(name, one, labels, m) for name, one in said.items()),
            error,
            spectra.scale,
            density.energies,
            told.clusters,
            None if stable is None else float(np.mean(stable)),
            tuple(warnings),
        )

    def _composition(self, spectra: Spectra) -> tuple[Floats, Floats] | None:
        known = [reference.composition for reference in self.references]
        values = np.array([np.nan if x is None else x for x in known])
        if np.isnan(values).any():
            return None
        return spectra.unmixed.mean(values, spectra.scale)


def _left_out(
    parameters: SpectralParameters, energies: Floats, chosen: NDArray[np.intp]
) -> list[str]:
    asked = len(energies if parameters.energies is None else parameters.energies)
    if len(chosen) == asked or parameters.energies is not None:
        return []
    n, out = len(energies), len(energies) - len(chosen)
    return [f"{out} of {n} energies lie outside a reference and are not used"]


def _plane(
    mask: NDArray[np.bool_], values: NDArray[Any], fill: float = np.nan, dtype: Any = np.float32
) -> NDArray[Any]:
    plane = np.full((*mask.shape, *values.shape[1:]), fill, dtype=dtype)
    plane[mask] = values
    return plane


def _row(name: MethodName, told: Told, labels: NDArray[np.intp], m: int) -> MethodRow:
    said = told.labels
    counts = np.bincount(said, minlength=m) / max(len(said), 1)
    return MethodRow(
        name,
        METHOD_WORDS[name],
        float((said == labels).mean()),
        float(told.unsure.mean()),
        told.seconds,
        tuple(counts.tolist()),
        None if told.clusters is None else told.clusters.effective,
    )
