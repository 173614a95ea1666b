"""From tiles of patterns to rows of a peak table."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel

from napari_diffmap.errors import BadInputError
from napari_diffmap.methods.method import Report, TileLike
from napari_diffmap.methods.patterns import as_float, single_threaded
from napari_diffmap.methods.registration.epattern import EPatternFinder, white_level
from napari_diffmap.methods.registration.finder import FoundSpots, PeakFinder
from napari_diffmap.methods.registration.parameters import RegistrationParameters
from napari_diffmap.methods.registration.setting import Setting, find_setting
from napari_diffmap.scan.peaks import PeakSource, PeakTable

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

#: Patterns that one thread works on at a time; a GPU takes as many as its memory likes.
_CPU_BATCH, _CPU_PIXELS, _GPU_PIXELS = 32, 1 << 20, 1 << 26

#: Columns of `TileSpots.rows`.
COLUMNS = ("ky", "kx", "intensity", "prominence", "width", "snr")


@dataclass(frozen=True, eq=False)
class TileSpots:
    """Spots of a block of scan positions.

    Attributes
    ----------
    position
        ``(ny * nx,)`` row-major scan positions of the block.
    counts
        Spots of each of them.
    rows
        ``(n, 6)`` float32 in the order of the positions; see `COLUMNS`.  Places are
        relative to the direct beam in the unit of the table.
    noise
        ``(ny * nx,)``; NaN where there is no pattern.
    """

    position: NDArray[np.int64]
    counts: NDArray[np.int64]
    rows: NDArray[np.float32]
    noise: NDArray[np.float32]


class RegistrationMethod:
    """Detects and registers the diffraction spots of every pattern.

    Parameters
    ----------
    parameters
        See `RegistrationParameters`.
    """

    name = "registration"
    Parameters: type[BaseModel] = RegistrationParameters

    def __init__(self, parameters: RegistrationParameters | None = None) -> None:
        self.parameters = parameters or RegistrationParameters()
        self.setting: Setting | None = None
        self._scan: Scan | None = None
        self._finder: PeakFinder | EPatternFinder | None = None
        self._device = torch.device("cpu")

    # ------------------------------------------------------------ preparing
    def prepare(self, scan: Scan, device: str = "cpu", progress: Report | None = None) -> None:
        """Measure beam, spot size and noise on some patterns.

        Parameters
        ----------
        scan
            A 4D-STEM scan; it needs no calibration.
        device
            Torch device.
        progress
            Called with (done, total, what).

        Raises
        ------
        BadInputError
            If the scan has no patterns, or the limits leave nothing to search.
        """
        if progress is not None:
            progress(0, 1, "geometry")
        self.set_up(scan, find_setting(scan, self.parameters), device)

    def set_up(self, scan: Scan, setting: Setting, device: str = "cpu") -> None:
        """Make the finder from a setting that is known already."""
        p = self.parameters
        self._device = torch.device(device)
        self._scan, self.setting = scan, setting
        detector, noise = setting.detector, setting.noise
        if p.preset == "ePattern":
            self._finder = EPatternFinder(
                shape=detector.shape,
                white=white_level(setting.frames),
                inner=detector.q_min,
                outer=detector.q_max,
                spot_sigma=detector.spot_sigma,
                most=p.most,
            )
            return
        single = PeakFinder(detector, p.false_spots, p.most, noise)
        rows, columns = setting.places.T
        beams = setting.calibration.centers(rows, columns, setting.scan_shape)
        excess = single.measure_excess(
            torch.from_numpy(setting.frames), torch.as_tensor(beams, dtype=torch.float32)
        )
        if p.neighbours:
            detector = replace(detector, quantum=detector.quantum / 9)
            noise = replace(noise, gain=noise.gain / 9, readout=noise.readout / 3)
        self._finder = PeakFinder(detector, p.false_spots, p.most, noise, self._device, excess)

    @property
    def threshold(self) -> float | None:
        """Times the noise a spot must stand out; None where the recipe has no such number."""
        return self._finder.threshold if isinstance(self._finder, PeakFinder) else None

    # -------------------------------------------------------------- running
    def find(self, tile: TileLike) -> TileSpots:
        """Spots of a tile.

        Raises
        ------
        BadInputError
            Before `prepare`.
        """
        if self.setting is None or self._scan is None or self._finder is None:
            raise BadInputError("prepare the method on a scan before it is run")
        setting, finder = self.setting, self._finder
        frames = self._frames(tile)
        centers = setting.centers(tile.rows, tile.columns).reshape(-1, 2)
        flat = frames.reshape(len(frames), -1)
        with np.errstate(invalid="ignore"):
            there = ~np.asarray(tile.missing).reshape(-1) & (flat.max(axis=1) > flat.min(axis=1))

        def work(part: slice) -> FoundSpots:
            images = torch.from_numpy(as_float(frames[part])).to(self._device)
            middle = torch.as_tensor(centers[part], dtype=torch.float32, device=self._device)
            return finder.measure(images, middle).cpu()

        pieces = self._spread(work, len(frames))
        starts = np.cumsum([0, *(len(piece.noise) for piece in pieces)])
        which = np.concatenate(
            [piece.which.numpy() + s for piece, s in zip(pieces, starts, strict=False)]
        )
        rows = np.concatenate(
            [np.stack([getattr(piece, n).numpy() for n in COLUMNS], axis=1) for piece in pieces]
        ).astype(np.float32)
        noise = np.concatenate([piece.noise.numpy() for piece in pieces]).astype(np.float32)
        noise[~there] = np.nan
        good = there[which] & np.isfinite(rows).all(axis=1) & (rows[:, 2] > 0)
        which, rows = which[good], rows[good]
        offset = rows[:, :2] - centers[which]
        rows[:, :2] = offset @ setting.calibration.undistortion.T * setting.scale
        columns = self._scan.shape[1]
        position = np.add.outer(
            np.arange(tile.rows.start, tile.rows.stop) * columns,
            np.arange(tile.columns.start, tile.columns.stop),
        ).ravel()
        counts = np.bincount(which, minlength=len(frames))
        return TileSpots(position, counts, rows, noise)

    def look(self, y: int, x: int) -> tuple[NDArray[np.float64], TileSpots]:
        """Spots of one scan position, and where they lie on the detector ``(n, 2)`` in pixels."""
        if self._scan is None or self.setting is None:
            raise BadInputError("prepare the method on a scan before it is run")
        scan = self._scan
        tile = _Position(
            slice(y, y + 1),
            slice(x, x + 1),
            np.asarray(scan.data[y : y + 1, x : x + 1].compute(scheduler="synchronous")),
            np.zeros((1, 1), dtype=bool)
            if scan.missing is None
            else scan.missing[y : y + 1, x : x + 1],
        )
        found = self.find(tile)
        setting = self.setting
        back = np.linalg.inv(setting.calibration.undistortion).T / setting.scale
        center = setting.centers(tile.rows, tile.columns).reshape(2)
        return found.rows[:, :2].astype(np.float64) @ back + center, found

    def source(self) -> PeakSource:
        """What the table says of the patterns it was made of."""
        if self._scan is None or self.setting is None:
            raise BadInputError("prepare the method on a scan before it is run")
        scan, setting = self._scan, self.setting
        assert setting.calibration.center is not None
        center = setting.calibration.center
        steps = scan.axes[:2]
        return PeakSource(
            shape=setting.detector.shape,
            center=(float(center[0]), float(center[1])),
            scale=setting.scale,
            spot_sigma=setting.detector.spot_sigma,
            nbytes=scan.nbytes,
            name=scan.name,
            voltage_kv=scan.calibration.voltage_kv,
            steps=(float(steps[0].scale), float(steps[1].scale)),
            step_unit=steps[0].unit,
            made_by=f"{self.name} {self.parameters.model_dump_json()}",
        )

    # --------------------------------------------------------------- inside
    def _frames(self, tile: TileLike) -> NDArray[Any]:
        """Patterns of a tile, ``(n, ky, kx)``, averaged with their neighbours where asked for."""
        scan = self._scan
        assert scan is not None
        if not (self.parameters.neighbours or self.parameters.preset == "ePattern"):
            return np.asarray(tile.patterns).reshape(-1, *tile.patterns.shape[-2:])
        rows, columns = (
            slice(max(0, s.start - 1), min(n, s.stop + 1))
            for s, n in zip((tile.rows, tile.columns), scan.shape[:2], strict=True)
        )
        block = as_float(np.asarray(scan.data[rows, columns].compute(scheduler="threads")))
        weight = np.ones(block.shape[:2], dtype=np.float32)
        if scan.missing is not None:
            weight[scan.missing[rows, columns]] = 0
            block = block * weight[:, :, None, None]
        total = np.zeros((*tile.missing.shape, *block.shape[2:]), dtype=np.float32)
        number = np.zeros(tile.missing.shape, dtype=np.float32)
        down, across = tile.rows.start - rows.start, tile.columns.start - columns.start
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                y = np.arange(tile.missing.shape[0]) + down + dy
                x = np.arange(tile.missing.shape[1]) + across + dx
                in_y, in_x = (y >= 0) & (y < block.shape[0]), (x >= 0) & (x < block.shape[1])
                to, of = np.ix_(in_y, in_x), np.ix_(y[in_y], x[in_x])
                total[to] += block[of]
                number[to] += weight[of]
        total /= np.maximum(number, 1)[:, :, None, None]
        return total.reshape(-1, *block.shape[2:])

    def _spread(self, work: Callable[[slice], FoundSpots], total: int) -> list[FoundSpots]:
        """Run over the patterns, on a CPU with one torch thread in each of several workers."""
        assert self.setting is not None
        pixels = int(np.prod(self.setting.detector.shape))
        if self._device.type != "cpu":
            size = max(1, _GPU_PIXELS // pixels)
            return [work(slice(i, min(i + size, total))) for i in range(0, total, size)]
        workers = torch.get_num_threads()
        # Larger batches leave the processor's cache.
        batch = min(_CPU_BATCH, max(1, _CPU_PIXELS // pixels))
        size = max(1, min(batch, -(-total // workers)))
        cuts = [slice(i, min(i + size, total)) for i in range(0, total, size)]
        if workers == 1 or len(cuts) == 1:
            return [work(cut) for cut in cuts]
        with single_threaded(), ThreadPoolExecutor(workers) as pool:
            return list(pool.map(work, cuts))


def assemble(
    scan_shape: tuple[int, int], tiles: list[TileSpots], source: PeakSource, calibrated: bool
) -> PeakTable:
    """Spots of all tiles as one table; positions that no tile covers are marked missing."""
    size = scan_shape[0] * scan_shape[1]
    counts = np.zeros(size, dtype=np.int64)
    noise = np.full(size, np.nan, dtype=np.float32)
    for tile in tiles:
        counts[tile.position] = tile.counts
        noise[tile.position] = tile.noise
    rows = np.concatenate([tile.rows for tile in tiles] or [np.zeros((0, 6), np.float32)])
    place = np.concatenate(
        [np.repeat(tile.position, tile.counts) for tile in tiles] or [np.zeros(0, np.int64)]
    )
    rows = rows[np.argsort(place, kind="stable")]
    columns = {name: np.ascontiguousarray(rows[:, i]) for i, name in enumerate(COLUMNS)}
    return PeakTable(
        shape=scan_shape,
        offsets=np.concatenate(([0], np.cumsum(counts))).astype(np.int64),
        calibrated=calibrated,
        noise=noise.reshape(scan_shape),
        source=source,
        **columns,
    )


@dataclass(frozen=True, eq=False)
class _Position:
    """One scan position as a tile."""

    rows: slice
    columns: slice
    patterns: NDArray[Any]
    missing: NDArray[np.bool_]
