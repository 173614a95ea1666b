"""Incident spectrum and optical density of the stack on the desk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError, DiffmapError
from napari_diffmap.viewer.runner import Runner, Token
from napari_diffmap.viewer.session import Session

if TYPE_CHECKING:
    from napari_diffmap.methods.spectra.density import Density
    from napari_diffmap.methods.spectra.incident import Incident

SLOT = "I0"


@dataclass(frozen=True, eq=False)
class Absorption:
    """What follows from I0.

    Attributes
    ----------
    density
        Optical density of the stack, with masks.
    empty
        ``(Y, X)``: pixels that I0 was taken from; None: it came from elsewhere.
    """

    density: Density
    empty: NDArray[np.bool_] | None


class Incidence:
    """Where I0 of the stack comes from, and the optical density that follows.

    Worked out beside the window, and only once somebody asks for it.

    Signals
    -------
    changed()
        I0 is chosen, known, refused or being worked out.
    known()
        The optical density is another one, or there is none any more.
    """

    changed = Signal()
    known = Signal()

    def __init__(self, session: Session, runner: Runner) -> None:
        self.session = session
        self.runner = runner
        self._waiting: list[Callable[[], None]] = []
        self._forget()

    def _forget(self) -> None:
        self.chosen: Incident | None = None
        self.absorption: Absorption | None = None
        #: Why there is no I0, as a sentence.
        self.problem = ""
        self.measuring = False
        #: OD above which a pixel is not read, and mean OD from which on it belongs to the sample;
        #: None: as the method chooses.
        self.saturation: float | None = None
        self.threshold: float | None = None
        self._waiting.clear()

    def reset(self) -> None:
        """Another scan."""
        self.runner.cancel(SLOT)
        self._forget()
        self.changed.emit()

    @property
    def possible(self) -> bool:
        """Whether the scan on the desk is an STXM stack."""
        return self.session.scan is not None and self.session.scan.kind == "STXM"

    @property
    def density(self) -> Density | None:
        """The optical density; None as long as I0 is not known."""
        return None if self.absorption is None else self.absorption.density

    @property
    def incident(self) -> Incident:
        """Where I0 comes from."""
        from napari_diffmap.methods.spectra.incident import Incident

        return self.chosen or Incident()

    # ------------------------------------------------------------- choosing
    def choose(self, incident: Incident | None) -> None:
        """Take I0 from elsewhere; None: from the brightest pixels."""
        self.chosen = incident
        self.measure()

    def choose_region(self) -> None:
        """Take I0 from the drawn region.

        Raises
        ------
        BadInputError
            If none is drawn.
        """
        from napari_diffmap.methods.spectra.incident import Incident

        region = self.session.region
        if region is None:
            raise BadInputError("Draw a region beside the sample first: I0 is measured there.")
        self.choose(Incident(mask=region.copy()))

    def set_limits(self, saturation: float | None, threshold: float | None) -> None:
        """Other limits of what is read and what is sample (OD)."""
        if (saturation, threshold) == (self.saturation, self.threshold):
            return
        self.saturation, self.threshold = saturation, threshold
        if self.absorption is not None or self.measuring:
            self.measure()

    # ------------------------------------------------------------ measuring
    def ensure(self, then: Callable[[], None] | None = None) -> None:
        """Work the optical density out if that has not been done; `then` follows it."""
        if self.absorption is not None and not self.measuring:
            if then is not None:
                then()
            return
        if then is not None:
            self._waiting.append(then)
        if not self.measuring:
            self.measure()

    def measure(self) -> None:
        """Work I0 and optical density out anew, beside the window."""
        data, stack = self.session.stack_data, self.session.stack
        if not self.possible or data is None or stack is None:
            self._waiting.clear()
            return
        energies = stack.axes[0].canonical().coordinates
        incident, saturation, threshold = self.incident, self.saturation, self.threshold
        self.measuring, self.problem = True, ""
        self.changed.emit()

        def work(token: Token) -> Absorption:
            del token
            return absorption(data.whole(), energies, incident, saturation, threshold)

        def done(found: Absorption) -> None:
            self._take(found, "")

        def failed(error: Exception) -> None:
            if not isinstance(error, DiffmapError | MemoryError | OSError | ValueError):
                raise error
            self._waiting.clear()
            self._take(None, " ".join(str(error).split()) or type(error).__name__)

        self.runner.latest(SLOT, work, done, failed=failed)

    def _take(self, found: Absorption | None, problem: str) -> None:
        self.measuring = False
        self.absorption, self.problem = found, problem
        self.changed.emit()
        self.known.emit()
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()

    # ------------------------------------------------------------- in words
    def line(self) -> str:
        """Where I0 comes from and what follows, in one line."""
        if not self.possible:
            return ""
        if self.problem:
            return f"⚠ {self.problem}"
        if self.measuring:
            return "I0 is being worked out …"
        found, file = self.absorption, self.incident.file
        where = self.incident.describe() if file is None else file.name
        if found is None:
            return f"I0: {where}; worked out when it is needed"
        density = found.density
        size = density.particle.size
        parts = [f"I0: {where}"]
        if self.chosen is None and found.empty is not None:
            parts = [f"I0: brightest {100 * found.empty.mean():.2g} % of pixels"]
        if not self.incident.already_density:
            parts.append(f"mean {np.nanmean(density.incident):.4g} counts")
        parts.append(f"sample {100 * density.particle.sum() / size:.0f} %")
        for name, mask in (("saturated", density.saturated), ("dark", density.dark)):
            if mask.any():
                parts.append(f"{name} {100 * mask.sum() / size:.2g} %")
        return " · ".join(parts)


def absorption(
    stack: NDArray[Any],
    energies: NDArray[np.float64],
    incident: Incident,
    saturation: float | None = None,
    threshold: float | None = None,
) -> Absorption:
    """I0 and optical density of a stack ``(E, Y, X)``.

    Raises
    ------
    BadInputError
        If I0 cannot be had.
    """
    from napari_diffmap.methods.spectra.density import SATURATION, optical_density
    from napari_diffmap.methods.spectra.incident import incident_of_histogram, region_mask

    empty: NDArray[np.bool_] | None = None
    spectrum: NDArray[np.float64] | None
    if incident.already_density:
        spectrum = None
    elif incident.file is None and incident.mask is None and incident.region is None:
        spectrum, empty = incident_of_histogram(stack)
    else:
        spectrum = incident.spectrum(stack, energies)
        if incident.mask is not None:
            empty = incident.mask
        elif incident.region is not None:
            empty = region_mask(incident.region, stack.shape[1:])
    density = optical_density(
        stack, energies, spectrum, saturation=saturation or SATURATION, threshold=threshold
    )
    return Absorption(density, empty)
