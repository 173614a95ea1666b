"""Patterns matched again where a user corrects: near a start, or with one phase only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from napari_diffmap.crystal.simulate import rotation_matrices
from napari_diffmap.errors import CancelledError
from napari_diffmap.methods.orientation.answers import Answers
from napari_diffmap.methods.orientation.batches import evened
from napari_diffmap.methods.orientation.frames import in_detector_frame, in_scan_frame
from napari_diffmap.methods.orientation.method import OrientationMethod, join_peaks
from napari_diffmap.methods.registration.spots import PeakBatch
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import Tile, read_tile

#: Patterns matched at once.
_BATCH = 32
#: Positions of a row further apart than this are read one by one.
_GAP = 8

Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class MatchedAgain:
    """New answers at some pixels.

    Attributes
    ----------
    rotations
        ``(n, 4)`` float32, laboratory → crystal.
    phase_ids
        ``(n,)`` int16; -1 where the pattern gives none.
    scores
        ``(n,)`` float32.
    """

    rotations: NDArray[np.float32]
    phase_ids: NDArray[np.int16]
    scores: NDArray[np.float32]


def refine_at(
    scan: Scan,
    method: OrientationMethod,
    pixels: NDArray[np.int64],
    rotations: NDArray[np.floating],
    phase_ids: NDArray[np.integer],
    *,
    cancelled: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> MatchedAgain:
    """Refine orientations from given starts.

    Where a pattern speaks against every orientation near the start, the start stays, with a
    score of 0.

    Parameters
    ----------
    scan, method
        What was mapped, and the matcher, prepared.
    pixels
        ``(n,)`` flat scan positions, rising.
    rotations, phase_ids
        ``(n, 4)`` laboratory → crystal, and ``(n,)``: where to start.
    cancelled, progress
        Asked, and told of patterns done and in all, after every batch.

    Raises
    ------
    CancelledError
        When `cancelled` said so.
    """
    geometry, device = method.geometry, method.search.device
    assert geometry is not None
    starts = in_detector_frame(np.asarray(rotations, dtype=np.float64), geometry)
    matrices = rotation_matrices(torch.as_tensor(starts, dtype=torch.float32, device=device))
    matrices = matrices.transpose(-1, -2)
    numbers = torch.as_tensor(phase_ids.astype(np.int64), device=device)

    def work(peaks: PeakBatch, part: slice) -> Answers:
        filled = evened(peaks)
        index = torch.arange(len(filled), device=device)
        index = torch.where(index < len(peaks), index, 0)
        return method.search.refined(filled, matrices[part][index], numbers[part][index])

    found = _matched(scan, method, pixels, work, cancelled, progress)
    lost = found.phase_ids < 0
    found.rotations[lost] = rotations[lost]
    found.phase_ids[lost] = phase_ids[lost]
    found.scores[lost] = 0
    return found


def match_at(
    scan: Scan,
    method: OrientationMethod,
    pixels: NDArray[np.int64],
    phase: int,
    *,
    cancelled: Callable[[], bool] | None = None,
    progress: Progress | None = None,
) -> MatchedAgain:
    """The best orientation of one phase at some pixels; parameters as of `refine_at`.

    Raises
    ------
    CancelledError
        When `cancelled` said so.
    """

    def work(peaks: PeakBatch, _part: slice) -> Answers:
        return method.search.match(evened(peaks), 1, (phase,))

    return _matched(scan, method, pixels, work, cancelled, progress)


def _matched(
    scan: Scan,
    method: OrientationMethod,
    pixels: NDArray[np.int64],
    work: Callable[[PeakBatch, slice], Answers],
    cancelled: Callable[[], bool] | None,
    progress: Progress | None,
) -> MatchedAgain:
    n = len(pixels)
    found = MatchedAgain(
        np.tile(np.array([1, 0, 0, 0], np.float32), (n, 1)),
        np.full(n, -1, np.int16),
        np.full(n, np.nan, np.float32),
    )
    done, waiting, empty = 0, list[PeakBatch](), list[NDArray[np.bool_]]()

    def flush() -> None:
        nonlocal done
        if not waiting:
            return
        peaks, void = join_peaks(waiting), np.concatenate(empty)
        waiting.clear()
        empty.clear()
        for start in range(0, len(peaks), _BATCH):
            if cancelled is not None and cancelled():
                raise CancelledError("matching again was stopped")
            stop = min(start + _BATCH, len(peaks))
            rows = torch.arange(start, stop, device=peaks.kx.device)
            part = slice(done, done + stop - start)
            answers = work(peaks.take(rows), part).take(torch.arange(stop - start))
            quaternions = in_scan_frame(method.search.rotations(answers), method.geometry)[:, 0]
            phases = answers.phase[:, 0].cpu().numpy().astype(np.int16)
            right = (phases >= 0) & ~void[start:stop]
            found.rotations[part][right] = quaternions[right]
            found.phase_ids[part][right] = phases[right]
            found.scores[part][right] = answers.score[:, 0].cpu().numpy()[right]
            done = part.stop
            if progress is not None:
                progress(done, n)

    for peaks, void in spots_at(scan, method, pixels):
        waiting.append(peaks)
        empty.append(void)
        if sum(len(one) for one in waiting) >= _BATCH:
            flush()
    flush()
    return found


def spots_at(
    scan: Scan, method: OrientationMethod, pixels: NDArray[np.int64]
) -> Iterator[tuple[PeakBatch, NDArray[np.bool_]]]:
    """Spots of the patterns at some pixels in their order, a piece of a row at a time."""
    for y, columns in _pieces(pixels, scan.shape[1]):
        for start in range(0, len(columns), _BATCH):
            part = columns[start : start + _BATCH]
            tile = read_tile(scan, slice(y, y + 1), slice(int(part[0]), int(part[-1]) + 1))
            peaks, void = method.find_spots(
                Tile(tile.rows, tile.columns, tile.patterns, tile.missing)
            )
            chosen = part - part[0]
            yield peaks.take(torch.as_tensor(chosen, device=peaks.kx.device)), void[chosen]


def _pieces(pixels: NDArray[np.int64], width: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Row and columns of pixels that lie close together in it."""
    rows, columns = np.divmod(pixels, width)
    cuts = np.flatnonzero((np.diff(rows) != 0) | (np.diff(columns) > _GAP)) + 1
    for piece in np.split(np.arange(len(pixels)), cuts):
        if len(piece):
            yield int(rows[piece[0]]), columns[piece]
