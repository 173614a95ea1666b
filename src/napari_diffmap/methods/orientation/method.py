"""The orientation map: patterns in, rotations, phases, scores and doubts out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from napari_diffmap.crystal.phases import CrystalPhase, load_phases
from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.method import MapSpec, Report, TileLike
from napari_diffmap.methods.orientation.answers import Answers
from napari_diffmap.methods.orientation.batches import evened
from napari_diffmap.methods.orientation.candidates import SearchSettings
from napari_diffmap.methods.orientation.doubt import (
    Evidence,
    causes,
    reliability_model,
)
from napari_diffmap.methods.orientation.frames import in_scan_frame, undistorted
from napari_diffmap.methods.orientation.geometry import Geometry, find_geometry
from napari_diffmap.methods.orientation.intensities import choose_intensities, models_for
from napari_diffmap.methods.orientation.overlap import Crystals, further_crystals
from napari_diffmap.methods.orientation.parameters import TEMPLATES, OrientationParameters
from napari_diffmap.methods.orientation.search import OrientationSearch
from napari_diffmap.methods.patterns import as_float, no_data, single_threaded
from napari_diffmap.methods.registration.signal import SpotSignal
from napari_diffmap.methods.registration.spots import (
    MOST_PEAKS,
    Detector,
    PeakBatch,
    SpotFinder,
    trust_of,
)
from napari_diffmap.scan.beam import beam_positions
from napari_diffmap.scan.tiles import Tile

if TYPE_CHECKING:
    from napari_diffmap.scan.peaks import PeakTable
    from napari_diffmap.scan.scan import Scan

_T = TypeVar("_T")

#: Patterns looked at to choose the intensity model, and those of them with most
#: spots that are compared.
_SAMPLED, _COMPARED = 144, 64


class OrientationMethod:
    """Template matching of every pattern against all phases at once.

    Parameters
    ----------
    parameters
        See `OrientationParameters`.
    phases
        What the sample may be; those named in the parameters when left out.

    Raises
    ------
    PhaseError
        If a phase cannot be loaded.
    BadInputError
        If there is none.
    """

    name = "orientation"
    Parameters: type[BaseModel] = OrientationParameters

    def __init__(
        self,
        parameters: OrientationParameters | None = None,
        phases: Sequence[CrystalPhase] | None = None,
    ) -> None:
        self.parameters = parameters or OrientationParameters()
        self.phases = tuple(phases) if phases else load_phases(self.parameters.phases)
        if not self.phases:
            raise BadInputError("add a phase first: a CIF file or the name of a bundled phase")
        self.geometry: Geometry | None = None
        self._peaks: PeakTable | None = None
        self._finder: SpotFinder | None = None
        self._search: OrientationSearch | None = None
        self._device = torch.device("cpu")

    def maps(self) -> tuple[MapSpec, ...]:
        """Rotations, scores and phases of the n best answers, reliability and its causes."""
        n = self.parameters.n_best
        return (
            MapSpec("rotations", "float32", "", 0.0, (n, 4)),
            MapSpec("scores", "float32", "", np.nan, (n,)),
            MapSpec("phase_ids", "int16", "", -1, (n,)),
            MapSpec("reliability", "float32", "", np.nan),
            MapSpec("ambiguity", "uint8", "", 6),
            MapSpec("spots", "float32", "", np.nan),
            MapSpec("explained", "float32", "", np.nan),
            MapSpec("found", "float32", "", np.nan),
            MapSpec("margin", "float32", "", np.nan),
            MapSpec("crystals", "uint8", "", 0),
        )

    # ------------------------------------------------------------ preparing

    def prepare(self, scan: Scan, device: str = "cpu", progress: Report | None = None) -> None:
        """Measure the geometry and simulate the templates.

        Parameters
        ----------
        scan
            A 4D-STEM scan with voltage and pixel size (or a calibrated peak list).
        device
            Torch device.
        progress
            Called with (done, total, what).

        Raises
        ------
        BadInputError
            If the scan has no patterns.
        CalibrationError
            If voltage, pixel size or centre is unknown.
        """
        if progress is not None:
            progress(0, len(self.phases) + 1, "geometry")
        self._device = torch.device(device)
        self.geometry = find_geometry(scan, self.parameters)
        self._peaks = scan.peaks
        self._finder = self._make_finder(scan, self.geometry)

        def templates(done: int, total: int, what: str) -> None:
            if progress is not None:
                progress(done + 1, total + 1, what)

        self._search = self._make_search(self._settings(self.geometry), templates)
        choose_intensities(self._search, self._sampled_spots(scan), progress)

    def _make_search(
        self, settings: SearchSettings, progress: Callable[[int, int, str], None]
    ) -> OrientationSearch:
        return OrientationSearch(self.phases, settings, self._device, progress)

    def take_over(self, other: OrientationMethod) -> None:
        """Find spots as another method that was prepared on the same scan."""
        self.geometry, self._peaks, self._finder = other.geometry, other._peaks, other._finder
        self._device = other._device

    def _sampled_spots(self, scan: Scan) -> PeakBatch:
        """Spots of the patterns spread over the scan that show most of them."""
        ny, nx = scan.shape[:2]
        step = max(1, int(np.ceil(np.sqrt(ny * nx / _SAMPLED))))
        pieces = []
        for y in range(min(step // 2, ny - 1), ny, step):
            row = np.asarray(scan.data[y, step // 2 % nx :: step].compute())
            for i, x in enumerate(range(step // 2 % nx, nx, step)):
                here = (slice(y, y + 1), slice(x, x + 1))
                absent = scan.missing is not None and bool(scan.missing[y, x])
                tile = Tile(*here, row[i][None, None], np.array([[absent]]))
                pieces.append(self.find_spots(tile)[0])
        peaks = join_peaks(pieces)
        most = torch.argsort(peaks.count, descending=True, stable=True)[:_COMPARED]
        return peaks.take(most)

    def _make_finder(self, scan: Scan, geometry: Geometry) -> SpotFinder:
        detector = Detector(
            shape=(scan.shape[-2], scan.shape[-1]),
            pixel_size=geometry.pixel_size,
            q_min=geometry.q_min,
            q_max=geometry.q_max,
            spot_sigma=geometry.spot_sigma,
            threshold=self.parameters.spot_threshold,
            subtract_background=self.parameters.background != "none",
            bad=geometry.bad,
            quantum=geometry.step,
        )
        return SpotFinder(detector, self._device)

    def _settings(self, geometry: Geometry) -> SearchSettings:
        p = self.parameters
        return SearchSettings(
            voltage_kv=geometry.voltage_kv,
            pixel_size=geometry.pixel_size,
            q_min=geometry.q_min,
            q_max=geometry.q_max,
            rings=p.radial_bins,
            angles=2 * round(180 / p.in_plane_step_deg),
            zone_step_deg=p.zone_step_deg,
            sigma=p.sigma_excitation,
            precession_deg=p.precession_deg,
            intensity_power=p.intensity_power,
            refine=p.refine,
            distinct_deg=p.distinct_deg,
            memory=p.memory_mb << 20,
            spot=geometry.spot_sigma * geometry.pixel_size,
            intensities=models_for(p.intensities, 10 * p.thickness_nm),
        )

    @property
    def search(self) -> OrientationSearch:
        """The prepared search.

        Raises
        ------
        BadInputError
            Before `prepare`.
        """
        if self._search is None:
            raise BadInputError("prepare the method on a scan before it is run")
        return self._search

    @property
    def engine(self) -> dict[str, Any]:
        """What proposes orientations, for the provenance."""
        return {"name": TEMPLATES}

    @property
    def intensities(self) -> str | None:
        """The intensity model that answers are ranked by; None before `prepare` has chosen it."""
        return None if self._search is None else str(self._search.intensities)

    # -------------------------------------------------------------- running

    def run(self, tile: TileLike) -> dict[str, NDArray[Any]]:
        """Map one tile; see `maps` for what comes back."""
        ny, nx = tile.missing.shape
        peaks, empty = self.find_spots(tile)
        answers, evidence = self.answer(peaks, empty)
        found = self._as_maps(answers, evidence)
        return {name: values.reshape(ny, nx, *values.shape[1:]) for name, values in found.items()}

    def find_spots(self, tile: TileLike) -> tuple[PeakBatch, NDArray[np.bool_]]:
        """Spots of every pattern of a tile, and which patterns hold no data ``(b,)``."""
        if self.geometry is None or self._finder is None:
            raise BadInputError("prepare the method on a scan before it is run")
        missing = np.asarray(tile.missing).reshape(-1)
        if self._peaks is not None and self._peaks.calibrated:
            return peaks_of_block(
                self._peaks, tile.rows, tile.columns, self.geometry, self._device
            ), missing
        frames = np.asarray(tile.patterns).reshape(-1, *tile.patterns.shape[-2:])
        centers = self.geometry.centers(tile.rows, tile.columns).reshape(-1, 2)
        finder, geometry = self._finder, self.geometry

        def work(part: slice) -> PeakBatch:
            chunk = as_float(frames[part])
            middle = centers[part]
            if geometry.follow:
                own = beam_positions(chunk, middle, geometry.beam_radius, geometry.bad)
                middle = np.where(np.isfinite(own), own, middle)
            images = torch.from_numpy(chunk).to(self._device)
            found = finder.find(
                images, torch.as_tensor(middle, dtype=torch.float32, device=self._device)
            )
            return undistorted(found, geometry)

        empty = missing | no_data(frames)
        pieces = self._spread(work, len(frames), 32)
        return join_peaks(pieces), empty

    def answer(self, peaks: PeakBatch, empty: NDArray[np.bool_]) -> tuple[Answers, Evidence]:
        """The n best answers for spots; where there are several crystals, first one each."""
        search = self.search
        n_best = max(self.parameters.n_best, 1)

        def work(part: slice) -> tuple[Answers, Crystals]:
            wanted = torch.arange(part.start, part.stop, device=self._device)
            chosen, p = evened(peaks.take(wanted)), self.parameters
            first = search.match(chosen, n_best)
            crystals = further_crystals(search, chosen, first, p.most_crystals, p.intensity_power)
            mine = torch.arange(len(wanted), device=self._device)
            return first.take(mine), crystals.take(mine)

        pieces = self._spread(work, len(peaks), search.batch)
        answers = Answers.joined([piece[0] for piece in pieces])

        def numbers(values: torch.Tensor) -> NDArray[np.float32]:
            return np.asarray(values.cpu().numpy(), dtype=np.float32)

        evidence = Evidence(
            score=numbers(answers.score[:, 0].clamp_min(0)),
            odds=numbers(answers.odds[:, 0]),
            rival=numbers(answers.rival),
            rival_phase=numbers(answers.rival_phase),
            explained=numbers(answers.explained[:, 0]),
            found=numbers(answers.found[:, 0]),
            spots=np.where(empty, 0, peaks.count.cpu().numpy()).astype(np.int64),
            second=numbers(torch.cat([piece[1].score for piece in pieces])),
            second_share=numbers(torch.cat([piece[1].share for piece in pieces])),
            crystals=numbers(torch.cat([piece[1].count for piece in pieces])).astype(np.int64),
            empty=empty,
            known=numbers(answers.known),
        )
        return answers, evidence

    def _spread(self, work: Callable[[slice], _T], total: int, size: int) -> list[_T]:
        """Run `work` over slices of at most `size`, on a CPU one torch thread each.

        Small tensors gain nothing from threads inside an operation, and lose much
        where another program shares the processor.
        """
        workers = torch.get_num_threads() if self._device.type == "cpu" else 1
        size = max(1, min(size, -(-total // workers)))
        cuts = [slice(start, min(start + size, total)) for start in range(0, total, size)]
        if workers == 1 or len(cuts) == 1:
            return [work(cut) for cut in cuts]
        with single_threaded(), ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, cuts))

    def _as_maps(self, answers: Answers, evidence: Evidence) -> dict[str, NDArray[Any]]:
        n = self.parameters.n_best
        phase = answers.phase.cpu().numpy().astype(np.int16)
        score = answers.score.cpu().numpy().astype(np.float32)
        rotations = in_scan_frame(self.search.rotations(answers), self.geometry)
        phase[evidence.void] = -1
        nothing = phase < 0
        score[nothing] = np.nan
        rotations[nothing] = (1, 0, 0, 0)
        reliability = reliability_model().probability(evidence)
        reliability = np.where(nothing[:, 0], 0.0, reliability).astype(np.float32)
        ambiguity = causes(evidence, reliability, self.parameters.reliability_threshold)
        reliability[evidence.empty] = np.nan
        crystals = 1 if evidence.crystals is None else evidence.crystals
        return {
            "rotations": rotations[:, :n],
            "scores": score[:, :n],
            "phase_ids": phase[:, :n],
            "reliability": reliability,
            "ambiguity": ambiguity,
            "spots": evidence.spots.astype(np.float32),
            "explained": evidence.explained,
            "found": evidence.found,
            "margin": evidence.margin,
            "crystals": np.where(nothing[:, 0], 0, crystals).astype(np.uint8),
        }


def join_peaks(pieces: Sequence[PeakBatch]) -> PeakBatch:
    """Consecutive batches as one."""
    width = max(piece.kx.shape[1] for piece in pieces)

    def padded(values: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.pad(values, (0, width - values.shape[1]))

    def joined(name: str) -> torch.Tensor:
        return torch.cat([padded(getattr(piece, name)) for piece in pieces])

    def known(name: str) -> torch.Tensor | None:
        return None if getattr(pieces[0], name) is None else joined(name)

    signals = [piece.signal for piece in pieces if piece.signal is not None]
    return PeakBatch(
        kx=joined("kx"),
        ky=joined("ky"),
        intensity=joined("intensity"),
        trust=joined("trust"),
        noise=known("noise"),
        signal=SpotSignal.joined(signals) if signals else None,
        hidden=known("hidden"),
    )


def peaks_of_block(
    table: PeakTable, rows: slice, columns: slice, geometry: Geometry, device: torch.device
) -> PeakBatch:
    """Measured peaks of a block of positions, the most significant first.

    Where a table does not say how far its peaks stand out of the noise, whoever made it
    has judged them: all are trusted, the strongest come first.
    """
    lists = []
    for y in range(rows.start, rows.stop):
        for x in range(columns.start, columns.stop):
            peaks = table.at(y, x)
            trust = np.ones(len(peaks), dtype=np.float32)
            first = peaks[:, 2]
            if table.snr is not None:
                first = table.snr[table.rows_at(y, x)]
                trust = trust_of(torch.from_numpy(np.array(first))).numpy()
            q = np.hypot(peaks[:, 0], peaks[:, 1])
            used = (q >= geometry.q_min) & (q <= geometry.q_max) & (peaks[:, 2] > 0)
            order = np.argsort(-first[used], kind="stable")[:MOST_PEAKS]
            lists.append(np.column_stack((peaks, trust))[used][order])
    width = max(1, max(len(peaks) for peaks in lists))
    out = np.zeros((4, len(lists), width), dtype=np.float32)
    for i, peaks in enumerate(lists):
        out[:, i, : len(peaks)] = peaks.T
    ky, kx, intensity, trusted = (torch.as_tensor(values, device=device) for values in out)
    return PeakBatch(kx, ky, intensity, trusted)
