"""Edges between pixels as straight segments, joined lines and pictures.

A corner of the pixel grid has integer coordinates ``(i, j)`` here and lies at
``(i - ½, j - ½)`` in pixel coordinates, where pixel centres are integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError

Mask = NDArray[np.bool_]


def _runs(mask: Mask) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.intp]]:
    """Runs of True along the last axis: line, first and one past the last."""
    padded = np.zeros((mask.shape[0], mask.shape[1] + 2), dtype=np.int8)
    padded[:, 1:-1] = mask
    change = np.diff(padded, axis=1)
    line, first = np.nonzero(change == 1)
    return line, first, np.nonzero(change == -1)[1]


def segments(edge_x: Mask, edge_y: Mask) -> NDArray[np.float32]:
    """Straight segments ``(n, 2, 2)`` in pixel coordinates (row, column).

    Parameters
    ----------
    edge_x
        ``(Y, X-1)``: an edge between ``[y, x]`` and ``[y, x+1]`` (drawn upright).
    edge_y
        ``(Y-1, X)``: an edge between ``[y, x]`` and ``[y+1, x]`` (drawn level).
    """
    column, top, bottom = _runs(edge_x.T)
    row, left, right = _runs(edge_y)
    upright = np.stack(
        (np.stack((top, column + 1), -1), np.stack((bottom, column + 1), -1)), axis=1
    )
    level = np.stack((np.stack((row + 1, left), -1), np.stack((row + 1, right), -1)), axis=1)
    return np.concatenate((upright, level)).astype(np.float32) - np.float32(0.5)


def polylines(edge_x: Mask, edge_y: Mask) -> list[NDArray[np.float32]]:
    """Lines from junction to junction (or end), and closed loops."""
    width = edge_y.shape[1] + 1
    y, x = np.nonzero(edge_x)
    upright = np.stack((y * width + x + 1, (y + 1) * width + x + 1), axis=1)
    y, x = np.nonzero(edge_y)
    level = np.stack(((y + 1) * width + x, (y + 1) * width + x + 1), axis=1)
    edges = np.concatenate((upright, level))
    if not len(edges):
        return []
    corners, flat = np.unique(edges, return_inverse=True)
    chains = _chains(flat.reshape(-1, 2), len(corners))
    place = np.stack(np.divmod(corners, width), axis=1).astype(np.float32) - np.float32(0.5)
    return [_without_straight_points(place[chain]) for chain in chains]


def _chains(edges: NDArray[np.intp], n_corners: int) -> list[list[int]]:
    """Walk a graph whose vertices have degree 1 to 4 along its unused edges."""
    ends = np.concatenate((edges[:, 0], edges[:, 1]))
    order = np.argsort(ends, kind="stable")
    degree = np.bincount(ends, minlength=n_corners)
    start = np.concatenate(([0], np.cumsum(degree))).tolist()
    # Plain lists: the walk is a Python loop, where numpy scalars are slow.
    edge_of = (order % len(edges)).tolist()
    first, second = edges[:, 0].tolist(), edges[:, 1].tolist()
    used = bytearray(len(edges))
    through = (degree == 2).tolist()

    def walk(corner: int, edge: int) -> list[int]:
        chain = [corner]
        while True:
            used[edge] = 1
            corner = second[edge] if first[edge] == corner else first[edge]
            chain.append(corner)
            if not through[corner]:
                return chain
            one, two = edge_of[start[corner]], edge_of[start[corner] + 1]
            edge = two if used[one] else one
            if used[edge]:
                return chain

    chains = []
    junctions = np.flatnonzero((degree != 2) & (degree > 0)).tolist()
    for corner in junctions:
        for slot in range(start[corner], start[corner + 1]):
            if not used[edge_of[slot]]:
                chains.append(walk(corner, edge_of[slot]))
    for edge in range(len(edges)):  # what is left are loops without a junction
        if not used[edge]:
            chains.append(walk(first[edge], edge))
    return chains


def _without_straight_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    steps = np.diff(points, axis=0)
    keep = np.ones(len(points), dtype=bool)
    keep[1:-1] = (steps[1:] != steps[:-1]).any(axis=1)
    return points[keep]


def raster(
    class_x: NDArray[np.uint8],
    class_y: NDArray[np.uint8],
    lines: Sequence[tuple[int, str]],
    scale: tuple[int, int],
    width: int | None = None,
) -> NDArray[np.uint8]:
    """Edge classes on an enlarged image; later ones of `lines` (code, kind) on top."""
    sy, sx = scale
    if min(scale) < 1:
        raise BadInputError(f"a picture cannot be enlarged by {scale}: give 1 or more")
    full = max(1, round(min(scale) / 4)) if width is None else max(1, width)
    rows, columns = class_x.shape[0], class_y.shape[1]
    image = np.zeros((rows * sy, columns * sx), dtype=np.uint8)
    for code, kind in lines:
        line = max(1, full // 2) if kind == "thin" else full
        # A dash is the middle of an edge.
        gap_y, gap_x = (sy // 4, sx // 4) if kind == "dashed" else (0, 0)
        y, x = np.nonzero(class_x == code)
        _stamp(image, y * sy + gap_y, (x + 1) * sx - line // 2, sy - 2 * gap_y, line, code)
        y, x = np.nonzero(class_y == code)
        _stamp(image, (y + 1) * sy - line // 2, x * sx + gap_x, line, sx - 2 * gap_x, code)
    return image


def _stamp(
    image: NDArray[np.uint8],
    top: NDArray[Any],
    left: NDArray[Any],
    height: int,
    width: int,
    code: int,
) -> None:
    """Fill a rectangle at each place."""
    for i in range(height):
        for j in range(width):
            y = np.clip(top + i, 0, image.shape[0] - 1)
            x = np.clip(left + j, 0, image.shape[1] - 1)
            image[y, x] = code
