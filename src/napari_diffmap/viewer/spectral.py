"""An STXM stack as it is looked at and mapped: I0, optical density, references, spectra, map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError
from napari_diffmap.viewer.aligning import Aligning
from napari_diffmap.viewer.held_spectra import HeldSpectra
from napari_diffmap.viewer.incidence import Incidence
from napari_diffmap.viewer.reference_list import ReferenceList
from napari_diffmap.viewer.runner import Runner
from napari_diffmap.viewer.session import Session
from napari_diffmap.viewer.spectral_curves import (
    CURRENT_COLOR,
    REFERENCE_DASHES,
    Curve,
    Look,
    Measured,
    brought_to_scale,
    default_edge,
    default_spans,
    inside,
    scaled_reference,
)
from napari_diffmap.viewer.stack_data import StackData, mean_inside, mean_known

if TYPE_CHECKING:
    from napari_diffmap.jobs.phases import PhasesRun
    from napari_diffmap.methods.spectra.density import Density
    from napari_diffmap.methods.spectra.parameters import SpectralParameters

#: The window waits so long for a spectrum (s): most come within a millisecond.
_PATIENCE = 0.008


class Spectral:
    """State of one window that has to do with an STXM stack.

    Everything is of the scan on the desk: another scan is begun with nothing.

    Signals
    -------
    look_changed(look)
        Something else is plotted or shown.
    picture_changed(rescaled)
        The image on the sample is another one; `rescaled`: in another quantity.
    spectrum_changed()
        Another spectrum is the current one.
    run_changed(run)
        Phases were mapped; None: another scan.
    """

    look_changed = Signal(object)
    picture_changed = Signal(bool)
    spectrum_changed = Signal()
    run_changed = Signal(object)

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        #: I0 and optical density, references, spectra that are kept, alignment of the frames.
        self.incidence = Incidence(session, runner)
        self.references = ReferenceList(session, runner, self.incidence)
        self.held = HeldSpectra()
        self.aligning = Aligning(session, runner, self.incidence)
        #: Finds the label at a position: its name and mask ``(Y, X)``, or None.
        self.label_at: Callable[[int, int], tuple[str, NDArray[np.bool_]] | None] | None = None
        self._forget()
        session.scan_changed.connect(self._on_scan)
        session.position_changed.connect(self.refresh_spectrum)
        session.region_changed.connect(self.refresh_spectrum)
        self.incidence.known.connect(self._on_density)
        self.references.changed.connect(self.spectrum_changed.emit)
        self.held.changed.connect(self.spectrum_changed.emit)
        self.aligning.applied_changed.connect(self._on_aligned)
        self.aligning.preview_changed.connect(lambda: self.picture_changed.emit(False))

    # ------------------------------------------------------------ the stack
    def _forget(self) -> None:
        self.look = Look()
        self.energies: NDArray[np.float64] = np.zeros(0)
        self.current: Measured | None = None
        self.parameters: SpectralParameters | None = None
        self.last: PhasesRun | None = None

    def _on_scan(self, _scan: object) -> None:
        self._forget()
        self.runner.cancel("held spectra")
        stack = self.session.stack
        if stack is not None:
            self.energies = stack.axes[0].canonical().coordinates
            self.look = Look(edge=default_edge(self.energies), spans=default_spans(self.energies))
        self.held.clear()
        self.aligning.reset()
        self.incidence.reset()
        self.references.reset()
        self.look_changed.emit(self.look)
        self.run_changed.emit(None)
        self.refresh_spectrum()

    @property
    def active(self) -> bool:
        """Whether the scan on the desk is an STXM stack."""
        return self.session.scan is not None and self.session.scan.kind == "STXM"

    @property
    def density(self) -> Density | None:
        """The optical density; None as long as I0 is not known."""
        return self.incidence.density

    def _data(self) -> StackData:
        data = self.session.stack_data
        if data is None:
            raise BadInputError("open an STXM stack first")
        return data

    # -------------------------------------------------------------- looking
    def change_look(self, **fields: Any) -> None:
        """Plot or show something else; see `Look`.

        Parameters
        ----------
        **fields
            Of `Look`.
        """
        old, self.look = self.look, replace(self.look, **fields)
        new = self.look
        if new == old:
            return
        if new.quantity == "OD":
            self.incidence.ensure()
        self.look_changed.emit(new)
        rescaled = (new.quantity, new.image == "difference") != (
            old.quantity,
            old.image == "difference",
        )
        if rescaled or (new.image, new.spans) != (old.image, old.spans):
            self.picture_changed.emit(rescaled)
        if new.whole_labels != old.whole_labels:
            self.refresh_spectrum()
        else:
            self.spectrum_changed.emit()

    def picture(self) -> Callable[[], NDArray[np.float32]]:
        """What makes the image ``(Y, X)`` of the sample, to be called beside the window."""
        data, look, plane = self._data(), self.look, self.session.plane
        density = self.density if look.quantity == "OD" else None
        preview = self.aligning.picture(plane)
        if preview is not None:
            return preview
        if look.image == "energy":
            chosen = np.ones(len(self.energies), dtype=bool)
            if plane is not None:
                if density is None:
                    return lambda: data.image(plane)
                return lambda: density.od[plane].copy()
            masks = [chosen]
        else:
            spans = look.spans if look.image == "difference" else look.spans[:1]
            masks = [inside(self.energies, span) for span in spans]

        def mean(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
            return data.mean_image(mask) if density is None else mean_known(density.od[mask])

        def make() -> NDArray[np.float32]:
            images = [mean(mask) for mask in masks]
            return images[0] if len(images) == 1 else images[0] - images[1]

        return make

    def spectrum_line(self) -> str:
        """Why the spectrum under the mouse is not drawn, in words; empty where it is."""
        current = self.current
        if current is None or self.look.quantity == "counts" or current.od is None:
            return ""
        if not np.isfinite(current.od).any():
            return "nothing was counted here"
        if np.isfinite(self.shown(current)).any():
            return ""
        return "no step above the pre-edge line here: not normalised"

    def picture_line(self) -> str:
        """What the sample shows, in words."""
        look, plane = self.look, self.session.plane
        what = "OD" if look.quantity == "OD" and self.density is not None else "counts"
        if self.aligning.preview != "off":
            return f"Sample: {self.aligning.words(plane)}"
        if look.image == "energy":
            at = "mean of all energies" if plane is None else f"{self.energies[plane]:.6g} eV"
            return f"Sample: {what}, {at}"
        words = []
        for name, span in zip("AB", look.spans, strict=True):
            n = int(inside(self.energies, span).sum())
            low, high = sorted(span)
            number = "1 energy" if n == 1 else f"{n} energies"
            words.append(f"{name} {low:.5g}–{high:.5g} eV ({number})")
        if look.image == "window":
            return f"Sample: {what}, mean of {words[0]}"
        return f"Sample: {what}, {words[0]} − {words[1]}"

    # ------------------------------------------------------------- spectra
    def refresh_spectrum(self, *_: object) -> None:
        """Measure the spectrum of the position, region or label beside the window."""
        if not self.active:
            return
        measure = self.measurer(*self._target())

        def done(found: Measured) -> None:
            if len(found.counts) == len(self.energies):
                self.current = found
                self.spectrum_changed.emit()

        self.runner.latest("trace", lambda _token: measure(), done, patience=_PATIENCE)

    def _target(self) -> tuple[str, tuple[int, int], NDArray[np.bool_] | None]:
        region, (y, x) = self.session.region, self.session.position
        if region is not None:
            return f"region of {int(region.sum())} px", middle_of(region), region
        if self.look.whole_labels and self.label_at is not None:
            found = self.label_at(y, x)
            if found is not None:
                return found[0], (y, x), found[1]
        return f"y {y}, x {x}", (y, x), None

    def measurer(
        self, name: str, position: tuple[int, int], mask: NDArray[np.bool_] | None
    ) -> Callable[[], Measured]:
        """What measures the spectrum of a position, or of a region ``(Y, X)``."""
        data, density = self._data(), self.density

        def measure() -> Measured:
            od: NDArray[np.float64] | None = None
            if mask is None:
                counts = data.trace(*position)
                if density is not None:
                    od = density.od[:, position[0], position[1]].astype(np.float64)
            else:
                counts = data.mean_trace(mask)
                if density is not None:
                    od = mean_inside(density.od, mask)
            return Measured(name, position, mask, counts, od)

        return measure

    def shown(self, spectrum: Measured) -> NDArray[np.float64]:
        """Values ``(E,)`` of a spectrum as they are plotted; NaN while I0 is not known."""
        if self.look.quantity == "counts":
            return spectrum.counts
        if spectrum.od is None:
            return np.full(len(self.energies), np.nan)
        return brought_to_scale(spectrum.od, self.energies, self.look)

    def curves(self) -> tuple[list[Curve], list[Curve], list[Curve]]:
        """Lines of the plot: the current spectrum, those held, the references."""
        now, held, known = [], [], []
        current, energies = self.current, self.energies
        if current is not None:
            now.append(Curve(current.name, CURRENT_COLOR, energies, self.shown(current)))
        for item in self.held.items:
            values = self.shown(item.spectrum)
            name = f"{item.key} {item.name}"
            held.append(Curve(name, item.color, energies, values, marker=item.marker))
        density = self.density
        if current is not None and current.od is not None and density is not None:
            for i, reference in enumerate(self.references.items):
                if reference.name in self.references.hidden:
                    continue
                line = scaled_reference(
                    reference, energies, current.od, self.look, density.incident
                )
                if line is not None:
                    dashes = REFERENCE_DASHES[i % len(REFERENCE_DASHES)]
                    known.append(Curve(reference.name, reference.color, *line, dashes=dashes))
        return now, held, known

    def hold(self) -> None:
        """Keep the current spectrum."""
        if self.current is not None:
            self.held.hold(self.current)

    def _measure_held(self) -> None:
        """Another I0 or other frames: held spectra follow."""
        if not self.held.items:
            return

        def again(old: Measured) -> Measured:
            return self.measurer(old.name, old.position, old.mask)()

        work = self.held.measure(again)
        self.runner.latest("held spectra", lambda _token: work(), self.held.take)

    def _on_density(self) -> None:
        if self.look.quantity == "OD":
            self.picture_changed.emit(True)
        self.refresh_spectrum()
        self._measure_held()

    def _on_aligned(self) -> None:
        if self.density is not None or self.incidence.measuring:
            self.incidence.measure()
        else:
            self.refresh_spectrum()
            self._measure_held()
        self.picture_changed.emit(False)

    # ------------------------------------------------------------- the map
    def missing(self) -> str:
        """What must be there before phases can be mapped, as a sentence; empty when nothing."""
        if not self.active:
            return "Open an STXM stack first."
        if len(self.references) < 2:
            one = "Add one more reference" if len(self.references) else "Add two references first"
            return f"{one}: the spectra of the phases, from files or a drawn region."
        return self.incidence.problem

    def set_run(self, run: PhasesRun) -> None:
        """Phases were mapped."""
        self.last = run
        self.run_changed.emit(run)


def middle_of(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """The pixel of a region ``(Y, X)`` that lies nearest to its middle."""
    places = np.argwhere(mask)
    nearest = np.argmin(((places - places.mean(axis=0)) ** 2).sum(axis=1))
    return int(places[nearest][0]), int(places[nearest][1])
