"""Defects of single frames: the site model where there is a lattice, a network everywhere.

On a site of a lattice that the image shows, the site model knows all that the counts can tell, and
its probability stands.  Where there is no such lattice (boundaries, holes, contamination, atoms
beside or above the sites) the network answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.defects.finds import OFF, Finds
from napari_diffmap.methods.defects.lattice import (
    Lattice,
    NoLatticeError,
    find_lattice,
    follow_lattice,
)
from napari_diffmap.methods.defects.monolayers import MONOLAYERS, Monolayer
from napari_diffmap.methods.defects.parameters import SPACING_NM, FindParameters
from napari_diffmap.methods.defects.site_answer import SiteAnswer
from napari_diffmap.methods.defects.sites import Experience, site_model
from napari_diffmap.methods.defects.trust import believed

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.network.model import DefectNetwork

#: Name that stands for no network.
SITES: Final = "sites"
#: Less probable finds are not kept.
LOWEST: Final = 0.1
#: Finds of one sign nearer than this many bond lengths are one.
_SAME: Final = 0.6
#: An atom farther from a site than this many bond lengths is on none.
_ON_SITE: Final = 0.35
#: An off-lattice peak of the site model's remainder counts from so many standard deviations.
_PEAK: Final = 6.0
#: A frame with nothing beyond so many standard deviations off the sites needs no network.
_LEFT: Final = 5.0
#: A lattice of another size than expected is believed from this clearness on.
_SURE: Final = 100.0


class Movie(Protocol):
    """Frames, read one at a time."""

    def __len__(self) -> int: ...
    def __getitem__(self, number: int) -> NDArray[Any]: ...


@dataclass(frozen=True, eq=False)
class FrameAnswer:
    """What was found in one frame.

    Attributes
    ----------
    finds
        With a probability of `LOWEST` at least.
    lattice
        None where none is seen.
    sites
        What the site model says; None without a lattice.
    probability_map
        ``(2, Y, X)`` float32: the network's, of lacking and of excess intensity; None where it was
        not asked.
    note
        What the user must know, or empty.
    """

    finds: Finds
    lattice: Lattice | None
    sites: SiteAnswer | None = None
    probability_map: NDArray[np.float32] | None = None
    note: str = ""


class Finder:
    """Finds defects in the frames of an image or a movie; frames do not depend on each other.

    Parameters
    ----------
    parameters
        What is sought, and how.
    device
        Torch device of the network.
    network
        Instead of the model that `parameters` name, e.g. one just trained on this image.
    """

    def __init__(
        self,
        parameters: FindParameters,
        device: str = "cpu",
        network: DefectNetwork | None = None,
    ) -> None:
        self.parameters, self.device = parameters, device
        self.network = network
        #: Lattice constant of the first frame in pixels, by calibration or measured.
        self.spacing: float | None = None
        #: Material, told or guessed; ``other`` where it is none of the known ones.
        self.material: str = parameters.material
        self.note = ""
        self._start: Lattice | None = None
        self._experience: Experience | None = None

    def prepare(self, movie: Movie, pixel_size_nm: float | None, control: Any = None) -> None:
        """Load the network; learn from the first frame what all have in common.

        Parameters
        ----------
        movie
            Frames; an image is a movie of one.
        pixel_size_nm
            None where the scan is not calibrated: the lattice constant is then measured.
        control
            Its ``check`` is called between steps, and may raise.

        Raises
        ------
        BadInputError
            If a model does not do, or neither calibration nor lattice tell the scale.
        """
        if self.network is None and self.parameters.model != SITES:
            from napari_diffmap.methods.defects.network.model import DefectNetwork

            self.network = DefectNetwork.load(self.parameters.model, self.device)
        if control is not None:
            control.check()
        frame = as_frame(movie[0])
        known = self._known_spacing(pixel_size_nm)
        try:
            self._start = self._first_lattice(frame, known, pixel_size_nm)
        except NoLatticeError as error:
            if known is None:
                raise BadInputError(
                    f"{error}; without a lattice the scale must be told: give the pixel size and"
                    " the material"
                ) from error
            self.note = f"no lattice is seen in the first frame ({error})"
        self.spacing = known if self._start is None else self._start.spacing
        if self._start is None:
            return
        self._experience = Experience()
        answer = site_model(frame, self._start, self._experience)
        if self.material == "auto":
            self.material = guess_material(
                None if pixel_size_nm is None else self._start.spacing * pixel_size_nm,
                answer.amplitudes,
                self._start.hexagonal,
            )

    def _first_lattice(
        self, frame: NDArray[np.float32], known: float | None, pixel_size_nm: float | None
    ) -> Lattice:
        """The lattice of the expected size; where there is none, a clear one of another size."""
        try:
            return find_lattice(frame, known)
        except NoLatticeError:
            if known is None or pixel_size_nm is None:
                raise
            try:
                other = find_lattice(frame)
            except NoLatticeError:
                other = None
            if other is None or not other.hexagonal or other.clearness < _SURE:
                raise
        self.note = (
            f"the lattice constant is {other.spacing * pixel_size_nm:.3g} nm by the pixel size, not"
            f" {known * pixel_size_nm:.3g}: check the pixel size and the material"
        )
        return other

    def _known_spacing(self, pixel_size_nm: float | None) -> float | None:
        """Lattice constant in pixels that calibration and material tell."""
        nm = self.parameters.spacing_nm or SPACING_NM.get(self.parameters.material)
        return None if nm is None or pixel_size_nm is None else nm / pixel_size_nm

    def frame(self, image: NDArray[Any], number: int, *, ask: bool = False) -> FrameAnswer:
        """Find the defects of one frame.

        Parameters
        ----------
        image
            ``(Y, X)``; NaN where nothing was recorded.
        number
            Of the frame.
        ask
            Ask the network even where the site model leaves nothing to be asked.
        """
        image = as_frame(image)
        lattice = self._lattice(image)
        sites = None
        if lattice is not None:
            # A copy: what a frame teaches must not depend on which came before.
            before = self._experience or Experience()
            mine = Experience(before.profile, dict(before.shares))
            sites = site_model(image, lattice, mine)
        said, found, believable = None, [], sites
        if sites is not None and lattice is not None:
            if self.network is not None:
                believable = believed(sites, lattice.spacing)
            assert believable is not None
            found.append(_of_sites(believable, lattice, number))
        beside = None
        if believable is not None and lattice is not None:
            beside = _beside(believable, lattice)
            # Where the lattice is everywhere and nothing stands beside it a network adds nothing.
            ask = ask or not believable.fitted.all() or len(beside[0]) > 0
        else:
            ask = True
        if self.network is not None and ask:
            said, more = self._of_network(image, lattice, sites, number)
            found.append(more)
        elif sites is not None and lattice is not None and beside is not None:
            found.append(_of_remainder(sites, lattice, *beside, number))
        finds = _without_doubles(found, self._bond(lattice), lattice, believable)
        note = "" if lattice is not None else "no lattice is seen"
        return FrameAnswer(finds, lattice, sites, said, note)

    def _lattice(self, image: NDArray[np.float32]) -> Lattice | None:
        try:
            if self._start is not None and self._start.shape == image.shape:
                return follow_lattice(image, self._start)
        except NoLatticeError:
            pass
        try:
            return find_lattice(image, self.spacing)
        except NoLatticeError:
            return None

    def _bond(self, lattice: Lattice | None) -> float:
        if lattice is not None:
            return lattice.bond
        return float((self.spacing or 8.0) / np.sqrt(3))

    def _of_network(
        self,
        image: NDArray[np.float32],
        lattice: Lattice | None,
        sites: SiteAnswer | None,
        number: int,
    ) -> tuple[NDArray[np.float32], Finds]:
        """What the network says, at its own sampling and brought back to the frame's."""
        from napari_diffmap.methods.defects.network.inputs import resampled, standardised
        from napari_diffmap.methods.defects.network.residual import pristine_fit

        assert self.network is not None
        spacing = self.spacing if lattice is None else lattice.spacing
        assert spacing is not None
        filled = np.where(np.isfinite(image), image, np.nanmedian(image))
        shown, zoom = resampled(filled, spacing, self.network.spacing)
        residual, where = None, None
        if lattice is not None:
            wide = lattice.sites(-2 * spacing)
            fit = pristine_fit(shown, wide.places * zoom, wide.sublattice, self.network.spacing)
            residual, where = fit.residual, fit.sites
        probability, spread_map = self.network.predict(
            standardised(shown, self.network.spacing), residual, where
        )
        peaks = self.network.finds(probability, spread_map, LOWEST)
        places = peaks.places / zoom
        n = len(places)
        kind, ratio = np.full(n, OFF), np.full(n, np.nan)
        if lattice is not None and n:
            _, near, gap = lattice.nearest(places)
            kind = np.where(gap < _ON_SITE * lattice.bond, near, OFF)
        if sites is not None and n:
            ratio = sites.height_at(places) / sites.amplitudes[np.maximum(kind, 0)]
            # An amplitude over the ground: on a site the column that belongs there is in it.
            ratio = np.where(kind == OFF, ratio, ratio + 1)
        return probability, Finds.of_frame(
            number, places, peaks.probability, kind, ratio, peaks.error / zoom, peaks.excess
        )


def as_frame(image: NDArray[Any]) -> NDArray[np.float32]:
    """A frame as float32, complex ones as intensity.

    Raises
    ------
    BadInputError
        If it is no image.
    """
    values = np.asarray(image)
    if values.ndim != 2 or min(values.shape) < 32:
        raise BadInputError(f"a frame of {values.shape} is no image of 32 × 32 pixels or more")
    if np.iscomplexobj(values):
        values = np.abs(values) ** 2
    values = values.astype(np.float32)
    if not np.isfinite(values).any() or np.nanmax(values) <= np.nanmin(values):
        raise BadInputError("a frame is empty: all its values are the same")
    return values


def guess_material(
    spacing_nm: float | None, amplitudes: NDArray[np.floating[Any]], hexagonal: bool
) -> str:
    """The monolayer whose lattice constant and brightness of sublattices come nearest.

    Parameters
    ----------
    spacing_nm
        Lattice constant; None where it is not known.
    amplitudes
        Heights of the columns, brightest first.
    hexagonal
        Whether the lattice is.
    """
    if not hexagonal or spacing_nm is None or len(amplitudes) < 2:
        return "other"
    near = [m for m in MONOLAYERS.values() if abs(m.spacing_nm / spacing_nm - 1) < 0.05]
    share = max(float(amplitudes[1] / amplitudes[0]), 1e-3)

    def apart(layer: Monolayer) -> float:
        # Of MoSe2 the two selenium atoms are the brighter column.
        weak = min(layer.amplitudes[1], 1 / layer.amplitudes[1])
        return float(abs(np.log(weak / share)))

    if not near:
        return "other"
    return min(near, key=apart).name


def best_threshold(probability: NDArray[np.floating[Any]]) -> float:
    """The probability from which finds must count for the greatest expected F1.

    Parameters
    ----------
    probability
        Calibrated probabilities of all candidates.
    """
    p = np.sort(np.asarray(probability, dtype=np.float64))[::-1]
    if not len(p):
        return 0.5
    expected = 2 * np.cumsum(p) / (np.arange(1, len(p) + 1) + p.sum())
    return float(np.clip(p[int(np.argmax(expected))], LOWEST, 0.9))


def _of_sites(sites: SiteAnswer, lattice: Lattice, number: int) -> Finds:
    """Sites that are probably no pristine ones."""
    chosen = np.flatnonzero((sites.probability >= LOWEST) & sites.fitted)
    # A column's place is known from the lattice; a brighter atom shows its own.
    places = sites.sites.places[chosen].copy()
    strong = sites.ratio[chosen] > 1.5
    places[strong] = sites.refined(places[strong], 0.5 * lattice.bond)
    return Finds.of_frame(
        number,
        places,
        sites.probability[chosen],
        sites.sites.sublattice[chosen],
        sites.ratio[chosen],
        0.03 * lattice.bond,
    )


def _beside(sites: SiteAnswer, lattice: Lattice) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Peaks of what the site model leaves that lie on no site, and their heights."""
    places, z = sites.peaks(_LEFT, 0.5 * lattice.bond)
    off = lattice.nearest(places)[2] > _ON_SITE * lattice.bond
    return places[off], z[off]


def _of_remainder(
    sites: SiteAnswer,
    lattice: Lattice,
    places: NDArray[np.float64],
    z: NDArray[np.float64],
    number: int,
) -> Finds:
    """Atoms on no site: the clearest of the peaks beside the sites."""
    clear = z >= _PEAK
    places, z = places[clear], z[clear]
    n = len(places)
    ratio = sites.height_at(places) / sites.amplitudes[0]
    return Finds.of_frame(
        number,
        places,
        1 / (1 + np.exp(-2 * (z - _PEAK))),
        np.full(n, OFF),
        ratio,
        0.1 * lattice.bond,
    )


def _without_doubles(
    parts: list[Finds], bond: float, lattice: Lattice | None, sites: SiteAnswer | None
) -> Finds:
    """Finds of all sources, each defect once: on fitted sites the site model's answer stands."""
    finds = Finds.joined([part for part in parts if len(part)])
    if not len(finds):
        return Finds.empty()
    of_sites = np.zeros(len(finds), dtype=bool)
    if lattice is not None and sites is not None and len(parts):
        of_sites[: len(parts[0])] = True
        # Where the site model looked and saw nothing the network is not asked.
        seen = sites.fitted_at(finds.places) & (finds.sublattice != OFF)
        finds, of_sites = finds.take(of_sites | ~seen), of_sites[of_sites | ~seen]
    if lattice is not None:
        # Half an atom at the border is no find off the lattice.
        rim = np.where(finds.sublattice == OFF, 0.3 * bond, 0.0)[:, None]
        far = np.array(lattice.shape) - 1
        inside = ((finds.places >= rim) & (finds.places <= far - rim)).all(axis=1)
        finds, of_sites = finds.take(inside), of_sites[inside]
    sure = finds.probability + np.where(of_sites, 1e-3, 0.0)
    kept = _surest(finds.places, sure, _SAME * bond)
    return finds.take(kept[np.lexsort(finds.places[kept].T[::-1])])


def _surest(
    places: NDArray[np.float64], sure: NDArray[np.floating[Any]], apart: float
) -> NDArray[np.int64]:
    """Numbers of places none of which lies nearer than `apart` to a surer one that is kept."""
    from scipy.spatial import cKDTree

    near: dict[int, list[int]] = {}
    for i, j in cKDTree(places).query_pairs(apart):
        near.setdefault(i, []).append(j)
        near.setdefault(j, []).append(i)
    kept = np.ones(len(places), dtype=bool)
    for i in np.argsort(-sure, kind="stable"):
        if kept[i]:
            kept[near.get(int(i), [])] = False
    return np.flatnonzero(kept)


#: Told of each frame as it is found.
OnFrame = Callable[[int, FrameAnswer], None]
