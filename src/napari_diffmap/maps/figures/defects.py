"""Pictures of defects: marked in their image, what classes look like, through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.atomic import atomic_path
from napari_diffmap.maps.defect_map import DefectMap, class_symbol
from napari_diffmap.maps.figures.sheet import SUFFIXES, print_figure, save_sheet
from napari_diffmap.maps.figures.sheet_parts import SIDE, Block, Pen, shortened
from napari_diffmap.maps.provenance import Provenance

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Width that a marked image is enlarged to at least, pixels.
_WIDE: Final = 1000
#: Diameter of a marker over that width; a class average in pixels of the screen.
_MARK: Final = 0.02
#: More marks than these are drawn without their numbers.
_MOST_NUMBERS: Final = 400
_DASHES: Final = (0, (1.6, 1.2))


def save_marked_png(
    found: DefectMap,
    image: NDArray[np.floating[Any]],
    frame: int,
    path: str | Path,
    *,
    caption: str = "",
) -> Path:
    """A frame with its defects: a symbol and a colour a class, numbered.

    The line is the wider the surer it is that there is a defect, and dashed where the find is in
    doubt.  Numbers are those of the tracks, of an image those of the finds.

    Parameters
    ----------
    found
        The map.
    image
        ``(Y, X)``.
    frame
        Its number.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    caption
        Lines under the picture.

    Returns
    -------
    Path
        The file written.

    Raises
    ------
    BadInputError, ResourceError
        If the image is another, the name is wrong or it cannot be written.
    """
    if image.shape != found.image_shape[1:]:
        raise BadInputError(f"an image of {image.shape} has not the defects of this map")
    slots = found.in_frame(frame)
    factor = max(1, round(_WIDE / max(image.shape)))
    grey = _grey(image).repeat(factor, axis=0).repeat(factor, axis=1)
    size = found.pixel_size_nm
    step = (1.0 if size is None else size) / factor
    what = f"{len(slots)} defect{'s' * (len(slots) != 1)}"
    title = what if found.image_shape[0] == 1 else f"{what} in frame {frame}"
    if found.frame_time_s is not None and found.image_shape[0] > 1:
        title += f" ({frame * found.frame_time_s:.4g} s)"
    return save_sheet(
        grey,
        path,
        step=(step, step),
        unit="pixel" if size is None else "nm",
        title=title,
        blocks=[_legend(found, slots)],
        provenance=found.provenance,
        caption=caption,
        overlay=_Marks(found, slots, factor),
        lines=True,
        frame="x right, y down",
    )


def _grey(image: NDArray[np.floating[Any]]) -> NDArray[np.uint8]:
    known = image[np.isfinite(image)]
    low, high = np.percentile(known, (0.5, 99.7)) if known.size else (0.0, 1.0)
    share = np.clip((image - low) / max(float(high - low), 1e-12), 0, 1)
    grey = np.nan_to_num(share * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


class _Marks:
    """Defects over their image; see `sheet.Overlay`."""

    def __init__(self, found: DefectMap, slots: NDArray[np.int64], factor: int) -> None:
        self.found, self.slots, self.factor = found, slots, factor

    def stamp(self, image: NDArray[np.uint8], factors: tuple[int, int]) -> None:
        """Nothing: marks are lines."""

    def draw(self, pen: Pen, corner: tuple[float, float], factors: tuple[int, int]) -> None:
        """Symbols and numbers."""
        found, slots = self.found, self.slots
        if not len(slots):
            return
        rows, columns = (self.factor * f for f in factors)
        y, x = found.best_places[0, slots, 1:].T
        # The middle of a pixel is half a pixel from its corner.
        across = corner[0] + (x + 0.5) * columns
        up = corner[1] - (y + 0.5) * rows
        side = found.image_shape[2] * columns * _MARK
        ids = found.best_phase_ids[0, slots]
        sure = np.nan_to_num(found.reliability[0, slots], nan=1.0)
        doubtful = found.ambiguous[0, slots]
        for i, phase in enumerate(found.phases):
            for dashed in (False, True):
                mine = (ids == i) & (doubtful == dashed)
                if not mine.any():
                    continue
                # A dark rim: colours show on bright columns, too.
                for color, wider in (("black", 1.6), (phase.color, 0.0)):
                    pen.axes.scatter(
                        across[mine],
                        up[mine],
                        s=(0.72 * side) ** 2,
                        marker=class_symbol(i),
                        facecolors="none",
                        edgecolors=color,
                        linewidths=pen.factor * (0.7 + 1.6 * sure[mine] + wider),
                        linestyles=_DASHES if dashed and not wider else "-",
                        alpha=0.45 if wider else 1.0,
                        zorder=3,
                    )
        if len(slots) <= _MOST_NUMBERS:
            self._numbers(pen, across, up, side)

    def _numbers(self, pen: Pen, across: Any, up: Any, side: float) -> None:
        from matplotlib.patheffects import withStroke

        rim = [withStroke(linewidth=1.8 * pen.factor, foreground="black")]
        tracks = self.found.tracks[self.slots]
        numbers = tracks if self.found.image_shape[0] > 1 else self.slots
        for number, x, y in zip(numbers, across, up, strict=True):
            if number >= 0:
                place = (x + 0.62 * side, y + 0.62 * side)
                pen.text(*place, str(number), 11, color="white", path_effects=rim, zorder=4)


def _legend(found: DefectMap, slots: NDArray[np.int64]) -> Block:
    ids = found.best_phase_ids[0, slots]
    used = np.unique(found.best_phase_ids[found.indexed])
    rows = [(i, found.phases[i], int((ids == i).sum())) for i in used]
    notes = ["wider line: surer", "dashed: in doubt"]

    def draw(pen: Pen, x: float, top: float) -> None:
        f = pen.factor
        y = top - 12 * f
        pen.text(x, y, "Class", weight="bold")
        for i, phase, count in rows:
            y -= 25 * f
            pen.axes.scatter(
                [x + 12 * f], [y], s=(11 * f) ** 2, marker=class_symbol(i),
                facecolors="none", edgecolors=phase.color, linewidths=2 * f,
            )  # fmt: skip
            pen.text(x + 34 * f, y, shortened(phase.name, SIDE - 90))
            pen.text(x + SIDE * f, y, str(count), ha="right")
        for note in notes:
            y -= 25 * f
            pen.text(x, y, note, color="#444444")

    return Block(40 + 25 * (len(rows) + len(notes)), draw)


def save_gallery_png(
    averages: NDArray[np.floating[Any]],
    names: Sequence[str],
    counts: Sequence[int],
    colors: Sequence[str],
    path: str | Path,
    provenance: Provenance,
) -> Path:
    """Mean image of each class, with its name and how many finds it has.

    Parameters
    ----------
    averages
        ``(k, c, c)``, NaN where there is nothing.
    names, counts, colors
        Of each class.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    provenance
        Goes into the file.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    columns = max(1, min(5, len(names)))
    rows = max(1, -(-len(names) // columns))
    figure = _figure(2.1 * columns + 0.3, 2.5 * rows + 0.4)
    known = averages[np.isfinite(averages)]
    low, high = np.percentile(known, (1, 99.5)) if known.size else (0.0, 1.0)
    for i, (name, count) in enumerate(zip(names, counts, strict=True)):
        axes = figure.add_subplot(rows, columns, i + 1)
        axes.imshow(averages[i], cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(f"{name}\n{count}", fontsize=10, parse_math=False)
        for side in axes.spines.values():
            side.set(color=colors[i], linewidth=3)
    figure.suptitle("Classes: mean of their finds, turned onto the lattice", fontsize=11)
    return _save(figure, path, "Class averages", provenance)


def save_space_time_png(found: DefectMap, path: str | Path) -> Path:
    """Defects through time: where they lie in the image, frame by frame upwards.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    figure = _figure(8.4, 7.2)
    axes: Any = figure.add_subplot(projection="3d")
    slots = found.filled
    frame, y, x = found.best_places[0, slots].T.astype(np.float64)
    size = found.pixel_size_nm
    time = found.frame_time_s
    y, x = (y, x) if size is None else (y * size, x * size)
    when = frame if time is None else frame * time
    tracks = found.tracks[slots]
    for number in np.unique(tracks[tracks >= 0]):
        mine = np.flatnonzero(tracks == number)
        mine = mine[np.argsort(frame[mine])]
        axes.plot(x[mine], y[mine], when[mine], color="#777777", lw=0.6)
    ids = found.best_phase_ids[0, slots]
    for i, phase in enumerate(found.phases):
        mine = np.flatnonzero(ids == i)
        if len(mine):
            axes.scatter(
                x[mine], y[mine], when[mine], s=9, color=phase.color, marker=class_symbol(i),
                label=phase.name, depthshade=False,
            )  # fmt: skip
    unit = "pixel" if size is None else "nm"
    axes.set(xlabel=f"x ({unit})", ylabel=f"y ({unit})")
    axes.set_zlabel("frame" if time is None else "time (s)")
    axes.invert_yaxis()
    if len(slots):
        axes.legend(fontsize=8, loc="upper left")
    axes.set_title("Defects in space and time", fontsize=11)
    return _save(figure, path, "Defects in space and time", found.provenance)


def save_transitions_png(
    names: Sequence[str],
    probability: NDArray[np.floating[Any]],
    low: NDArray[np.floating[Any]],
    high: NDArray[np.floating[Any]],
    path: str | Path,
    provenance: Provenance,
    *,
    note: str = "",
) -> Path:
    """Transition probabilities from frame to frame with their 95 % intervals.

    Parameters
    ----------
    names
        Of the k classes.
    probability, low, high
        ``(k, k)``, from the class of the row to that of the column.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    provenance
        Goes into the file.
    note
        A line below.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    k = len(names)
    figure = _figure(1.15 * k + 2.6, 0.85 * k + 2.2)
    axes = figure.add_subplot()
    axes.imshow(np.nan_to_num(probability), cmap="Blues", vmin=0, vmax=1)
    words = [shortened(name, 130) for name in names]
    axes.set_xticks(range(k), words, rotation=25, ha="right", parse_math=False)
    axes.set_yticks(range(k), words, parse_math=False)
    axes.set(xlabel="to", ylabel="from")
    for i in range(k):
        for j in range(k):
            p = probability[i, j]
            if not np.isfinite(p):
                continue
            told = f"{p:.2f}\n{low[i, j]:.2f}–{high[i, j]:.2f}"
            color = "white" if p > 0.55 else "black"
            axes.text(j, i, told, ha="center", va="center", fontsize=8, color=color)
    axes.set_title("Probability from one frame to the next (95 % interval)", fontsize=10)
    if note:
        figure.text(0.01, 0.01, note, fontsize=8, color="#444444", parse_math=False)
    return _save(figure, path, "Transitions", provenance)


@dataclass(frozen=True, eq=False)
class DisplacementCurve:
    """Mean squared displacement of a class.

    Attributes
    ----------
    number, name, color
        Of the class.
    times, squares, low, high
        ``(n,)`` time between, mean square, and its 95 % interval.
    coefficient
        D in the units of the others; NaN for none.
    hollow
        Draw hollow symbols.
    """

    number: int
    name: str
    color: str
    times: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    coefficient: float
    hollow: bool = False


def save_displacement_png(
    curves: Sequence[DisplacementCurve],
    path: str | Path,
    provenance: Provenance,
    *,
    units: tuple[str, str],
) -> Path:
    """Mean squared displacement over the time between, and what the diffusion coefficient says.

    Parameters
    ----------
    curves
        Of each class.
    path
        ``.png``, ``.svg`` or ``.pdf``.
    provenance
        Goes into the file.
    units
        Of length and time, e.g. ``("nm", "s")``.

    Raises
    ------
    BadInputError, ResourceError
        If the name is wrong or it cannot be written.
    """
    figure = _figure(6.4, 4.6)
    axes = figure.add_subplot()
    for one in curves:
        look: dict[str, Any] = {"color": one.color, "marker": class_symbol(one.number)}
        if one.hollow:
            look["markerfacecolor"] = "none"
        axes.plot(one.times, one.squares, ms=5, lw=0.8, label=one.name, **look)
        axes.fill_between(one.times, one.low, one.high, color=one.color, alpha=0.15, lw=0)
        if np.isfinite(one.coefficient) and len(one.times):
            # Noise of places adds a constant: the line of D begins where the first mean lies.
            line = one.squares[0] + 4 * one.coefficient * (one.times - one.times[0])
            axes.plot(one.times, line, color=one.color, ls="--", lw=1.4)
    length, time = units
    axes.set(xlabel=f"time between ({time})", ylabel=f"mean squared displacement ({length}²)")
    axes.set_ylim(bottom=0)
    if curves:
        axes.legend(fontsize=8, title="dashed: slope 4 D; band: 95 %")
    return _save(figure, path, "Mean squared displacement", provenance)


def _figure(width: float, height: float) -> Figure:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=130, facecolor="white", layout="constrained")


def _save(figure: Figure, path: str | Path, title: str, provenance: Provenance) -> Path:
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise BadInputError(f"{target.name}: a picture must end in {', '.join(SUFFIXES)}")
    with atomic_path(target) as temporary:
        print_figure(figure, temporary, suffix, title, provenance.to_json())
    return target
