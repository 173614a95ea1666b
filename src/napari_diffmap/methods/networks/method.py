"""The orientation map with a network in place of the coarse search."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from napari_diffmap.crystal.phases import CrystalPhase
from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.method import Report
from napari_diffmap.methods.networks.model import load_proposer
from napari_diffmap.methods.networks.search import NetworkSearch
from napari_diffmap.methods.orientation.candidates import SearchSettings
from napari_diffmap.methods.orientation.method import OrientationMethod
from napari_diffmap.methods.orientation.parameters import TEMPLATES, OrientationParameters
from napari_diffmap.methods.orientation.search import OrientationSearch

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan


class NetworkMethod(OrientationMethod):
    """A network proposes, the matcher refines, ranks and doubts.

    Parameters
    ----------
    parameters, phases
        As of `OrientationMethod`; ``parameters.engine`` names the model.

    Raises
    ------
    ModelError
        If there is no such model, or it is damaged.
    BadInputError
        If it was trained for other crystals.
    """

    def __init__(
        self,
        parameters: OrientationParameters | None = None,
        phases: Sequence[CrystalPhase] | None = None,
    ) -> None:
        from napari_diffmap.models.registry import find
        from napari_diffmap.models.weights import read_model

        super().__init__(parameters, phases)
        entry = find(self.parameters.engine, "orientation")
        self.card, self._state = read_model(entry.path)
        # Tells a wrong crystal now, not when the run begins.
        load_proposer(self.card, self._state, self.phases)

    def prepare(self, scan: Scan, device: str = "cpu", progress: Report | None = None) -> None:
        """Measure the geometry, load the network and simulate what refinement needs.

        Raises
        ------
        BadInputError
            If the scan was measured under conditions the network was not trained for.
        """
        voltage = self.parameters.voltage_kv or scan.calibration.voltage_kv
        reasons = self.card.covers(
            voltage_kv=voltage, precession_deg=self.parameters.precession_deg
        )
        if reasons:
            raise BadInputError(
                f"{self.card.name}: {reasons[0]}: take another network or the templates"
            )
        super().prepare(scan, device, progress)

    def _make_search(
        self, settings: SearchSettings, progress: Callable[[int, int, str], None]
    ) -> OrientationSearch:
        proposer = load_proposer(self.card, self._state, self.phases, self._device)
        return NetworkSearch(proposer, self.phases, settings, self._device, progress)

    def referee(self) -> OrientationMethod:
        """The templates, prepared with the same geometry, spots and intensity model."""
        own = self.search
        parameters = self.parameters.model_copy(update={"engine": TEMPLATES})
        other = OrientationMethod(parameters, self.phases)
        other.take_over(self)
        search = OrientationSearch(self.phases, own.settings, self._device)
        search.use(own.intensities)
        search.sure = own.sure
        other._search = search
        return other

    @property
    def engine(self) -> dict[str, Any]:
        """What answered, for the provenance."""
        return {
            "name": self.card.name,
            "version": self.card.version,
            "family": self.card.network.family,
            "sha256": self.card.checksum,
        }


def orientation_method(
    parameters: OrientationParameters | None = None,
    phases: Sequence[CrystalPhase] | None = None,
) -> OrientationMethod:
    """The method that the parameters' engine stands for: the templates, or a network."""
    if parameters is None or parameters.engine == TEMPLATES:
        return OrientationMethod(parameters, phases)
    return NetworkMethod(parameters, phases)
