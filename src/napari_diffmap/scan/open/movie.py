"""Movies (.avi, .mp4 …) through FFmpeg: decoded in small runs of frames when they are looked at."""

from __future__ import annotations

import re
import subprocess
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.beside import describe
from napari_diffmap.scan.open.found import Found, Offer, RawAxis, Request, offer_of
from napari_diffmap.scan.open.regions import Index, Region

#: Movies that are taken.
SUFFIXES = (".avi", ".m4v", ".mkv", ".mov", ".mp4", ".wmv")
#: Frames decoded in one go: a process starts for each run of them.
_RUN_BYTES, _LONGEST_RUN = 16 << 20, 64
#: Decoded frames that are kept, of all movies together.
_KEPT_BYTES = 256 << 20
#: Numbers that more than this part of the pixels differ by (of 255) between colours.
_COLOUR, _COLOURED_PART = 24, 0.01
_DEEP = re.compile(r"(gray|p|rgb|bgr|gbrp)(9|1[0246]|48)(le|be)?$|^(rgb|bgr)48")


@dataclass(frozen=True)
class MovieFacts:
    """What FFmpeg says about a movie.

    Attributes
    ----------
    frames
        How many can be decoded.
    size
        Rows and columns.
    rate
        Frames a second of the playback; 0 where it is not known.
    steady
        Every frame lasts as long as the others, so that time leads to a frame.
    deep
        More than 8 bits a pixel.
    """

    frames: int
    size: tuple[int, int]
    rate: float
    steady: bool
    deep: bool


class MovieRegion(Region):
    """The frames of a movie ``(time, y, x)``, brightness only.

    Parameters
    ----------
    path
        The movie.
    facts
        As `probe` finds them.
    """

    def __init__(self, path: Path, facts: MovieFacts) -> None:
        self.path = path
        self._facts = facts
        self.shape = (facts.frames, *facts.size)
        self.dtype = np.dtype(np.uint16 if facts.deep else np.uint8)
        frame = self.dtype.itemsize * facts.size[0] * facts.size[1]
        self._run = max(1, min(_LONGEST_RUN, _RUN_BYTES // frame))
        self.stored_chunks = (self._run, *facts.size)

    def read(self, index: Index) -> NDArray[Any]:
        """Decode the runs that hold the frames asked for."""
        wanted = np.arange(self.shape[0])[index[0]]
        frames = [self._frame(int(number))[index[1:]] for number in np.atleast_1d(wanted)]
        if not isinstance(index[0], slice):
            return np.asarray(frames[0])
        return np.stack(frames) if frames else np.empty((0, *self.shape[1:]), self.dtype)

    def _frame(self, number: int) -> NDArray[Any]:
        stat = self.path.stat()
        key = (str(self.path), stat.st_mtime_ns, stat.st_size, number)
        frame = _kept.get(key)
        if frame is not None:
            return frame
        first = number // self._run * self._run
        count = min(self._run, self.shape[0] - first)
        run, told = decode(self.path, self._facts, first, count)
        if first + len(run) <= number:
            raise ScanFileError(
                f"{self.path.name}: frame {number} cannot be decoded"
                f"{': ' + told if told else ''}: the movie is cut or damaged"
            )
        for i, picture in enumerate(run):
            _kept.put((*key[:3], first + i), picture)
        return np.asarray(run[number - first])


class _Kept:
    """Frames decoded last, over all movies and threads."""

    def __init__(self, budget: int) -> None:
        self._budget = budget
        self._bytes = 0
        self._frames: OrderedDict[tuple[Any, ...], NDArray[Any]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: tuple[Any, ...]) -> NDArray[Any] | None:
        with self._lock:
            if key in self._frames:
                self._frames.move_to_end(key)
            return self._frames.get(key)

    def put(self, key: tuple[Any, ...], frame: NDArray[Any]) -> None:
        with self._lock:
            if key not in self._frames:
                self._bytes += frame.nbytes
            self._frames[key] = frame
            while self._bytes > self._budget and len(self._frames) > 1:
                _, old = self._frames.popitem(last=False)
                self._bytes -= old.nbytes


_kept = _Kept(_KEPT_BYTES)


def _ffmpeg(path: Path, before: list[str], after: list[str]) -> tuple[bytes, str]:
    """What FFmpeg writes to its output, and the first line of its complaint."""
    from imageio_ffmpeg import get_ffmpeg_exe

    try:
        program = get_ffmpeg_exe()
    except RuntimeError as error:
        raise ScanFileError(
            f"{path.name}: movies need FFmpeg: install it with 'pip install imageio-ffmpeg'"
        ) from error
    command = [program, "-nostdin", "-v", "error", *before, "-i", str(path), *after]
    done = subprocess.run(command, capture_output=True, check=False)
    lines = done.stderr.decode("utf-8", "replace").splitlines()
    said = [re.sub(r"^\[[^\]]*\]\s*", "", line).strip() for line in lines]
    return done.stdout, next((line for line in said if line), "")


def decode(
    path: Path, facts: MovieFacts, first: int, count: int, pixels: str | None = None
) -> tuple[NDArray[Any], str]:
    """Some frames one after another.

    Parameters
    ----------
    first, count
        Which; fewer come back where the movie is cut.
    pixels
        FFmpeg's name for their layout; brightness where it is None.

    Returns
    -------
    frames
        ``(n, y, x)``, or ``(n, y, x, 3)`` for ``rgb24``.
    told
        FFmpeg's complaint, empty where there is none.
    """
    layout = pixels or ("gray16le" if facts.deep else "gray")
    before: list[str] = ["-noautorotate"]
    after = ["-map", "0:v:0", "-fps_mode", "passthrough", "-frames:v", str(count)]
    if first and facts.steady:  # half a frame early, so that rounding leads to the right one
        before += ["-ss", f"{(first - 0.5) / facts.rate:.6f}"]
    elif first:
        after += ["-vf", f"select=gte(n\\,{first})"]
    raw, told = _ffmpeg(path, before, [*after, "-f", "rawvideo", "-pix_fmt", layout, "pipe:1"])
    dtype = np.dtype("<u2" if layout == "gray16le" else "u1")
    frame = (*facts.size, 3) if layout == "rgb24" else facts.size
    whole = len(raw) // (dtype.itemsize * int(np.prod(frame)))
    cut = raw[: whole * dtype.itemsize * int(np.prod(frame))]
    return np.frombuffer(cut, dtype).reshape(whole, *frame), told


def probe(path: Path) -> tuple[MovieFacts, list[str]]:
    """Size, rate and number of the frames of a movie, and what is to be said about them.

    Raises
    ------
    ScanFileError
        If not one frame can be decoded.
    """
    import imageio_ffmpeg

    notes: list[str] = []
    try:
        reader = imageio_ffmpeg.read_frames(str(path))
        try:
            meta = next(reader)
        finally:
            reader.close()
        packets, _ = imageio_ffmpeg.count_frames_and_secs(str(path))
    except (OSError, RuntimeError, StopIteration, ValueError, KeyError, IndexError) as error:
        raise ScanFileError(_why_not(path)) from error
    columns, rows = meta.get("source_size") or meta["size"]
    rate = float(meta.get("fps") or 0.0)
    lasts = float(meta.get("duration") or 0.0)
    steady = rate > 0 and abs(lasts * rate - packets) <= 1.5 and _seeks(path, meta)
    deep = bool(_DEEP.search(str(meta.get("pix_fmt", "")).split("(")[0]))
    facts = MovieFacts(int(packets), (int(rows), int(columns)), rate, steady, deep)
    there = _decodable(path, facts)
    promised = max(facts.frames, _promised(path))
    if there < promised:
        notes.append(f"the file is cut: {there} of {promised} frames can be decoded")
    return MovieFacts(there, facts.size, rate, steady and there == facts.frames, deep), notes


def _seeks(path: Path, meta: Mapping[str, Any]) -> bool:
    """Whether a time leads to the right frame.

    An .avi keeps no times: where frames are stored in another order than they are shown (MPEG-4
    with B-frames), FFmpeg comes out one frame off.
    """
    alone = {"rawvideo", "mjpeg", "ffv1", "png", "huffyuv", "ffvhuff", "utvideo", "msrle"}
    return path.suffix.lower() != ".avi" or str(meta.get("codec", "")).split()[0] in alone


def _decodable(path: Path, facts: MovieFacts) -> int:
    """Frames that can be decoded: the last are tried, and all where those fail."""
    if not len(decode(path, facts, 0, 1)[0]):
        raise ScanFileError(_why_not(path))
    last = max(0, facts.frames - 2)
    if last + len(decode(path, facts, last, 2)[0]) >= facts.frames:
        return facts.frames
    steps = ["-map", "0:v:0", "-fps_mode", "passthrough", "-vf", "scale=2:2"]
    tiny, _ = _ffmpeg(path, [], [*steps, "-f", "rawvideo", "-pix_fmt", "gray", "pipe:1"])
    return len(tiny) // 4


def _promised(path: Path) -> int:
    """Frames that the header of an .avi states (``dwTotalFrames``); 0 for other movies."""
    with path.open("rb") as file:
        head = file.read(4096)
    at = head.find(b"avih")
    if not head.startswith(b"RIFF") or at < 0 or len(head) < at + 28:
        return 0
    promised = int.from_bytes(head[at + 24 : at + 28], "little")
    return promised if promised < 1 << 24 else 0


def _why_not(path: Path) -> str:
    _, told = _ffmpeg(path, [], ["-map", "0:v:0", "-frames:v", "1", "-f", "null", "-"])
    with path.open("rb") as file:
        head = file.read(16)
    if "moov atom" in told and b"ftyp" in head:
        return f"{path.name}: the movie is cut, its index (at its end) is missing: copy it again"
    said = told.replace(str(path), path.name).removeprefix(f"{path.name}: ")[:100].rstrip(".: ")
    reason = f" ({said})" if said and "moov" not in said else ""
    return f"{path.name}: no frame can be decoded{reason}: it is damaged, or no movie"


def movie(path: Path, request: Request) -> list[Offer]:
    """A movie as an image series; one frame is an image."""
    del request
    facts, notes = probe(path)
    region = MovieRegion(path, facts)
    axes = [RawAxis("time"), RawAxis("y"), RawAxis("x")]
    found = Found(region, axes, "movie", path.stem, path, kind="image series", notes=notes)
    (colours,), _ = decode(path, facts, 0, 1, "rgb24")
    spread = np.ptp(colours.astype(np.int16), axis=-1)
    if float(np.mean(spread > _COLOUR)) > _COLOURED_PART:
        notes.append("the movie is coloured: the brightness of its pixels is taken")
    describe(path, found)
    if facts.rate > 0 and found.axes[0].unit is None:
        found.axes[0] = RawAxis("time", 1 / facts.rate, 0.0, "s")
        notes.append(
            f"frame time {1 / facts.rate:.4g} s from the playback rate of {facts.rate:g} frames/s,"
            " which need not be that of the recording: give the frame time if you know it"
        )
    return [offer_of(found)]
