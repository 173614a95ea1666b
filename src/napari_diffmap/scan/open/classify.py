"""Which kind of scan an array is, from its axes; a guess is always said."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
from dask.local import get_sync
from numpy.typing import NDArray

from napari_diffmap.scan.axes import normalise_unit
from napari_diffmap.scan.open.energies import is_energy_name
from napari_diffmap.scan.open.found import Found, RawAxis
from napari_diffmap.scan.open.regions import Region
from napari_diffmap.scan.scan import AXIS_NAMES, Kind

_LENGTHS = frozenset({"Å", "pm", "nm", "µm", "mm", "cm", "m"})
_RECIPROCAL = frozenset({"1/Å", "1/nm", "1/pm", "1/µm", "mrad", "rad"})
_BY_NAME = (
    ("k", re.compile(r"^(k_?[xy]|q_?[xy]|det_?[xy]|d[xy]|detector_?[xy])$")),
    ("r", re.compile(r"^(r_?[xy]|scan_?[xy]|sample_?[xy]|x|y|xaxis|yaxis|pos_?[xy])$")),
    ("e", re.compile(r"^energy loss$")),
    ("t", re.compile(r"^(time|t|frame_?time|series_count)$")),
    ("a", re.compile(r"^(angle|tilt|theta|omega|phi|chi|rocking|eta|mu)$")),
)
#: Names that a file can list to say its axis order.
_ORDER_WORDS = {
    "ky": "ky", "kx": "kx", "qy": "ky", "qx": "kx", "dety": "ky", "detx": "kx", "y": "y", "x": "x",
    "scany": "y", "scanx": "x", "energy": "energy", "frame": "frame",
    "time": "time", "t": "time", "angle": "angle", "n": "frame",
}  # fmt: skip
#: A picture whose brightest pixels stand this many times further above the median
#: than its darkest lie below is a diffraction pattern (measured: patterns 6 to
#: 10,000, atomic and STEM images 0.1 to 3.3).
_PATTERN_CONTRAST = 5.0
#: Single heavy atoms and dirt reach up to 9 (measured on 184 images of silicon in graphene),
#: evenly over the field (`_spread` 0.37 to 0.41; patterns 0.07 to 0.33).
_SURE_CONTRAST, _EVEN_SPREAD = 12.0, 0.36
#: No larger frame, or block of frames, is decoded for a look.
_LOOK_BYTES = 128 << 20
#: Frames that may be called images: their size, and the height of the peaks in their power
#: spectrum over its median (noise up to 40, atomic lattices from 300).
_SMALLEST_IMAGE, _PEAK_POWER = 32, 100.0


@dataclass(frozen=True)
class Decision:
    """A kind, the order that brings the axes to it, and whether it was guessed."""

    kind: Kind
    order: tuple[int, ...]
    note: str | None = None


class UnclearError(Exception):
    """The array cannot be a scan, or cannot be told; the message says why."""


def axis_class(axis: RawAxis, *, strict: bool = False) -> str:
    """One letter: k reciprocal, r real, e energy, t time, a angle, ? unknown.

    Parameters
    ----------
    axis
        As found in the file.
    strict
        Look at the unit alone; names such as x and y prove little.
    """
    unit = normalise_unit(axis.unit)
    if unit in _RECIPROCAL:
        return "k"
    if unit in _LENGTHS:
        return "r"
    if unit in ("eV", "keV"):
        return "e"
    if unit == "degree":
        return "a"
    if not strict:
        name = axis.name.strip().lower()
        if is_energy_name(name):
            return "e"
        for letter, pattern in _BY_NAME:
            if pattern.match(name):
                return letter
    return "t" if unit in ("s", "ms") else "?"


def order_from_text(text: str, ndim: int) -> tuple[str, ...] | None:
    """Axis order stated in free text, e.g. ``axes order is ky,kx,y,x``."""
    run: list[str] = []
    for word in re.findall(r"[A-Za-z_]+|[^A-Za-z_\s]+", text):
        name = _ORDER_WORDS.get(word.lower().replace("_", ""))
        if name is not None and name not in run:
            run.append(name)
            continue
        if word in {",", "-", "x", "×", "|", "(", ";", "/"} or not run:
            continue
        if len(run) == ndim:
            break
        run = []
    return tuple(run) if len(run) == ndim else None


def looks_like_pattern(frame: NDArray[Any]) -> bool:
    """Whether a picture is a diffraction pattern rather than an image.

    A pattern is bright in few pixels, and those lie together around the beam; single heavy
    atoms are bright as well, but lie anywhere.
    """
    picture = np.asarray(frame)
    picture = np.abs(picture) if picture.dtype.kind == "c" else picture.astype(np.float64)
    values = picture[np.isfinite(picture)]
    if values.size < 16:
        return False
    low, middle, high = np.percentile(values, [1, 50, 99.9])
    contrast = (high - middle) / max(middle - low, 1e-12 * abs(high), 1e-300)
    if not contrast > _PATTERN_CONTRAST:
        return False
    return bool(contrast > _SURE_CONTRAST or _spread(picture) < _EVEN_SPREAD)


def _spread(picture: NDArray[Any]) -> float:
    """How far from its middle the brightness lies, over the size: 0.41 where it is even."""
    bright = np.nan_to_num(picture, posinf=0.0, neginf=0.0)
    bright = np.clip(bright - np.percentile(bright, 5), 0, None)
    total = float(bright.sum())
    if not total:
        return 1.0
    squares = 0.0
    for axis, size in enumerate(bright.shape):
        along = bright.sum(axis=1 - axis) / total
        at = np.arange(size) / size
        squares += float(along @ (at - along @ at) ** 2)
    return float(np.sqrt(squares))


def looks_like_image(frame: NDArray[Any]) -> bool:
    """Whether a picture shows structure, and no diffraction pattern.

    Noise, constant frames and patterns do not; their Fourier transform has no peaks, or they
    are bright around the beam.
    """
    picture = np.asarray(frame)
    if picture.dtype.kind not in "uif" or min(picture.shape) < _SMALLEST_IMAGE:
        return False
    values = np.nan_to_num(picture.astype(np.float32), posinf=0.0, neginf=0.0)
    if float(np.ptp(values)) == 0 or looks_like_pattern(picture):
        return False
    window = np.outer(*(np.hanning(size) for size in values.shape))
    power = np.abs(np.fft.rfft2((values - values.mean()) * window)) ** 2
    power[:3, :3] = power[-2:, :3] = 0  # slow changes of brightness are in anything
    return bool(power.max() > _PEAK_POWER * max(float(np.median(power)), 1e-30))


def explicit_order(names: Sequence[str], kind: Kind | None) -> tuple[Kind, tuple[int, ...]]:
    """Kind and permutation for axis names given by the user or the file."""
    for candidate, wanted in AXIS_NAMES.items():
        if (kind is None or candidate == kind) and sorted(wanted) == sorted(names):
            return candidate, tuple(names.index(name) for name in wanted)
    raise UnclearError(f"axes {', '.join(names)} are no scan: give e.g. y,x,ky,kx or energy,y,x")


def decide(found: Found, axes: list[RawAxis], kind: Kind | None) -> Decision:
    """The kind of an array of 2 to 5 axes.

    Raises
    ------
    UnclearError
        If it cannot be a scan or cannot be told.
    """
    ndim = len(axes)
    same = tuple(range(ndim))
    wanted = kind or found.kind
    if wanted is not None:
        return _as_wanted(wanted, axes)
    classes = "".join(axis_class(a) for a in axes)
    units = "".join(axis_class(a, strict=True) for a in axes)
    if ndim == 5:
        if classes[0] == "a" or [a.name.lower() for a in axes[-2:]] == ["qy", "qx"]:
            return Decision("nanodiffraction", same)
        raise UnclearError(
            "has 5 axes: give the kind 'nanodiffraction' if they are angle, y, x, qy, qx"
        )
    if ndim == 4:
        return _four(found, axes, classes, units)
    if ndim == 3:
        return _three(found, axes, classes, units)
    if ndim == 2:
        return _two(found, axes, classes, units)
    raise UnclearError(f"has {ndim} axes: a scan has 2 to 5")


def _as_wanted(kind: Kind, axes: list[RawAxis]) -> Decision:
    names = AXIS_NAMES[kind]
    if len(names) != len(axes):
        what = {3: "a flat stack needs a scan shape (rows, columns) to become 4D-STEM"}
        hint = what.get(len(axes), "choose another kind") if kind == "4D-STEM" else (
            f"{kind} has axes {', '.join(names)}"
        )  # fmt: skip
        raise UnclearError(f"has {len(axes)} axes, {kind} has {len(names)}: {hint}")
    named = _by_name(axes, kind) if kind in ("STXM", "image") else None
    if named is not None:
        return named
    classes = "".join(axis_class(a, strict=True) for a in axes)
    if kind == "4D-STEM" and classes[:2] == "kk" and "k" not in classes[2:]:
        return Decision(kind, (2, 3, 0, 1), "detector axes come first in the file; reordered")
    if kind == "STXM" and classes.endswith("e"):
        return Decision(kind, (2, 0, 1), "the energy axis comes last in the file; moved first")
    return Decision(kind, tuple(range(len(axes))))


def _bare(name: str) -> str:
    return name.strip().lower().replace("_", "").removeprefix("sample")


def _by_name(axes: list[RawAxis], kind: Kind) -> Decision | None:
    """The order that names such as kx, ky, x, y state, where all of them are there.

    Readers that tell scan from detector axes (HyperSpy) keep arrays in row-major
    order whatever users call their axes; there, places count.
    """
    if any(a.role for a in axes):
        return None
    wanted = AXIS_NAMES[kind]
    names = ["energy" if is_energy_name(a.name) else _ORDER_WORDS.get(_bare(a.name)) for a in axes]
    if sorted(map(str, names)) != sorted(wanted):
        return None
    order = tuple(names.index(name) for name in wanted)
    if order == tuple(range(len(axes))):
        return Decision(kind, order)
    stated = ", ".join(a.name for a in axes)
    return Decision(kind, order, f"axes are stored as {stated}; reordered to {', '.join(wanted)}")


def _four(found: Found, axes: list[RawAxis], classes: str, units: str) -> Decision:
    same = (0, 1, 2, 3)
    named = _by_name(axes, "4D-STEM")
    if named is not None:
        return named
    if (units[:2] == "kk" and "k" not in units[2:]) or classes == "kkrr":
        return Decision(
            "4D-STEM", (2, 3, 0, 1), "detector axes come first in the file; reordered to y,x,ky,kx"
        )
    roles = [a.role for a in axes]
    if roles.count("scan") == 2 and roles.count("detector") == 2:
        order = tuple(
            [i for i, r in enumerate(roles) if r == "scan"]
            + [i for i, r in enumerate(roles) if r == "detector"]
        )
        return Decision("4D-STEM", order)
    if roles.count("detector") in (1, 3) and None not in roles:
        raise UnclearError(
            f"has {roles.count('scan')} scan and {roles.count('detector')} detector axes:"
            " give the kind '4D-STEM' if they are y, x, ky, kx"
        )
    if "e" in classes:
        raise UnclearError("has an energy axis and four dimensions: choose one part of it")
    if classes in ("rrkk", "??kk") or units[2:] == "kk":
        return Decision("4D-STEM", same)
    shape = found.shape
    note = "axis order is not stated in the file; taken as y, x, ky, kx"
    if len(shape) == 4 and min(shape[:2]) >= 32 and shape[0] * shape[1] > 64 * shape[2] * shape[3]:
        note += (
            f" although a detector of {shape[2]} x {shape[3]} pixels is unusual:"
            " give the axes 'ky,kx,y,x' if the detector comes first"
        )
    return Decision("4D-STEM", same, note)


def _three(found: Found, axes: list[RawAxis], classes: str, units: str) -> Decision:
    same = (0, 1, 2)
    named = _by_name(axes, "STXM")
    if named is not None:
        return named
    if classes[0] == "e":
        return Decision("STXM", same)
    if classes[2] == "e" and "k" not in units:
        return Decision("STXM", (2, 0, 1), "the energy axis comes last in the file; moved first")
    roles = [a.role for a in axes]
    if roles == ["scan", "scan", "detector"] or (classes == "rr?" and units == "???"):
        raise UnclearError("holds one spectrum a scan position without energies, no patterns")
    if found.diffraction or units[1:] == "kk" or classes[1:] == "kk":
        if classes[0] == "a" and [a.name.lower() for a in axes[1:]] == ["qy", "qx"]:
            return Decision("Bragg CDI", same)
        return Decision("pattern stack", same)
    if units[1:] == "rr":
        return Decision("image series", same)
    if _shows_images(found):
        return Decision(
            "image series",
            same,
            "taken as images by what its frames look like (else give the kind 'pattern stack')",
        )
    return Decision(
        "pattern stack",
        same,
        "the file does not say what its frames are; taken as a stack of patterns"
        " (else give the kind 'STXM' or 'image series')",
    )


def _shows_images(found: Found) -> bool:
    """Whether first, middle and last frame look like images; False where that cannot be seen."""
    data, (n, *size) = found.data, found.shape
    stored = data.stored_chunks if isinstance(data, Region) else tuple(c[0] for c in data.chunks)
    block = max(math.prod(size), math.prod(stored or ())) * found.dtype.itemsize
    if block > _LOOK_BYTES or min(size) < _SMALLEST_IMAGE or size[0] > 4 * size[1]:
        return False
    there = np.arange(n) if found.missing is None else np.flatnonzero(~found.missing.ravel())
    if found.missing is not None and found.missing.size != n:
        return False
    picks = {int(there[i]) for i in (0, len(there) // 2, len(there) - 1)} if len(there) else set()
    frames = (data[i] for i in sorted(picks))
    return bool(picks) and all(
        looks_like_image(f.compute(scheduler=get_sync) if isinstance(f, da.Array) else f)
        for f in frames
    )


def _two(found: Found, axes: list[RawAxis], classes: str, units: str) -> Decision:
    same = (0, 1)
    roles = [a.role for a in axes]
    if found.diffraction or units == "kk" or classes == "kk":
        return Decision("pattern", same)
    if roles == ["scan", "detector"] or "e" in classes:
        raise UnclearError("holds spectra, no patterns and no images")
    if units == "rr" or found.diffraction is False:
        return Decision("image", same)
    if found.dtype.kind == "c":
        return Decision("image", same, "complex values are taken as an object wave")
    guess: Kind = "pattern" if looks_like_pattern(np.asarray(found.data[:, :])) else "image"
    other = "image" if guess == "pattern" else "pattern"
    return Decision(guess, same, f"taken as {guess} by its contrast (else give the kind '{other}')")
