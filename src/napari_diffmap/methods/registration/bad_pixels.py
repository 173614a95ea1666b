"""Pixels of a detector that count wrong: hot, warm and dead ones, seams between its chips."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: The fainter part of a detector line lies between the spots.
_FAINT_SHARE = 0.4


def find_bad_pixels(frames: NDArray[np.float32]) -> NDArray[np.bool_] | None:
    """Pixels that stand out from all their neighbours in most patterns.

    A Bragg spot is wider than a pixel and lifts its neighbours; a hot pixel does
    not, and a dead one is empty where its neighbours count.
    """
    middle = np.median(frames, axis=0)
    mean = frames.mean(axis=0)
    around = np.stack(
        [
            np.pad(image, 1, mode="edge")[1 + dy : 1 + dy + image.shape[0], 1 + dx :][
                :, : image.shape[1]
            ]
            for image in (middle, mean)
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
            if dy or dx
        ]
    )
    top_middle, top_mean = around[:8].max(axis=0), around[8:].max(axis=0)
    noise = np.sqrt(np.maximum(top_mean, 0) + 1.0)
    hot = (middle > 3 * top_middle + 3 * noise) & (mean > 3 * top_mean + 3 * noise)
    counted = around[8:].min(axis=0) * len(frames)
    dead = (mean < 0.05 * around[8:].min(axis=0)) & (counted > 25)
    bad = hot | dead | (_lone(middle) & _lone(mean))
    # A detector with this many is no detector with bad pixels but a sparse pattern.
    if bad.mean() > 0.02:
        bad[:] = False
    for axis in (0, 1):
        lines = bad_lines(mean, axis, len(frames))
        bad[:, lines] |= axis == 0
        bad[lines, :] |= axis == 1
    return bad if bad.any() else None


def _lone(image: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Pixels far above the ring two pixels away, whose next neighbours are level with it.

    Even a spot of 0.4 pixels (sigma) puts a tenth of its height into its next
    neighbours, since a pixel integrates over its area.
    """
    padded = np.pad(image.astype(np.float64), 2, mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5)).reshape(*image.shape, 25)
    at = np.abs(np.indices((5, 5)) - 2).reshape(2, 25)
    ring = windows[..., at.max(axis=0) == 2]
    level = np.median(ring, axis=-1)
    spread = 1.4826 * np.median(np.abs(ring - level[..., None]), axis=-1)
    height = image - level
    near = windows[..., at.sum(axis=0) == 1] - level[..., None]
    clear = height > 12 * spread + 3 * np.sqrt(np.maximum(level, 0) + 1)
    return np.asarray(
        clear & (near.mean(axis=-1) < 0.05 * height) & (near.max(axis=-1) < 0.12 * height)
    )


def bad_lines(mean: NDArray[np.float32], axis: int, frames: int) -> NDArray[np.int64]:
    """Columns (axis 0) or rows (axis 1) that differ from both sides along their whole length.

    Seams between the chips of a detector do.  A row of Bragg spots along the line of a
    crystal that fills the scan differs too, but not between its spots: so the fainter
    part of the line must differ as well.
    """
    image = mean.astype(np.float64) if axis == 0 else mean.T.astype(np.float64)
    size = image.shape[1]
    if min(image.shape) < 16:
        return np.array([], dtype=np.int64)
    # In eight parts, so that a beam or a spot near the line does not decide.
    parts = np.stack([part.sum(axis=0) for part in np.array_split(image, 8)])
    faint = np.sort(image, axis=0)[: max(1, int(_FAINT_SHARE * len(image)))].sum(axis=0)
    sums = np.concatenate((parts, faint[None]))
    bad: list[int] = []
    for _ in range(9):
        good = np.setdiff1d(np.arange(size), bad)
        left = good[np.clip(np.searchsorted(good, np.arange(size)) - 2, 0, len(good) - 1)]
        right = good[np.clip(np.searchsorted(good, np.arange(size), "right") + 1, 0, len(good) - 1)]
        changes = [sums / np.maximum(sums[:, side], 1e-9) - 1 for side in (left, right)]
        # The smaller change of the two, 0 where a line is only a step on a slope.
        same = np.sign(changes[0]) == np.sign(changes[1])
        every = np.where(same, np.sign(changes[0]) * np.minimum(*np.abs(changes)), 0.0)
        change, between = every[:-1], every[-1]
        noise = np.sqrt(2.0 / np.maximum(parts * frames, 1e-9))
        typical = np.median(change, axis=0)
        sure = (np.sign(change) == np.sign(typical)).all(axis=0)
        sure &= (np.abs(change) > 3 * noise).sum(axis=0) >= 7
        sure &= between * np.sign(typical) > 0.4 * np.abs(typical)
        strength = np.where(sure & (np.abs(typical) > 0.08), np.abs(typical), 0.0)
        strength[[0, 1, size - 2, size - 1]] = 0.0
        strength[bad] = 0.0
        if not strength.max() > 0:
            return np.array(sorted(bad), dtype=np.int64)
        bad.append(int(np.argmax(strength)))
    # More than a few are no seams.
    return np.array([], dtype=np.int64)
