"""What one window looks at: scan, position, region, detectors, calibration, phases, map.

The session holds state and tells who listens; it knows no layer and no widget.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import count
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray
from psygnal import Signal

from napari_diffmap.errors import BadInputError
from napari_diffmap.scan.calibration import Calibration
from napari_diffmap.scan.detectors import Detector
from napari_diffmap.scan.peaks import PeakTable
from napari_diffmap.scan.scan import Scan
from napari_diffmap.scan.tiles import BLOCK_BYTES, KEEP_BYTES, BlockReader, memory_allowed
from napari_diffmap.viewer.stack_data import StackData
from napari_diffmap.viewer.views import as_patterns

if TYPE_CHECKING:
    from napari_diffmap.crystal.phases import CrystalPhase
    from napari_diffmap.maps import PhaseMap
    from napari_diffmap.maps.edits.corrections import Corrections


#: Kinds of which one plane is always looked at, never their sum.
_BY_PLANE = ("nanodiffraction", "image series")


@dataclass(frozen=True)
class ListedDetector:
    """A virtual detector in the list of the window.

    Attributes
    ----------
    key
        Stays the same while the detector is moved, renamed or recoloured.
    detector
        The detector itself.
    visible
        Whether its image is shown (the eye).
    """

    key: int
    detector: Detector
    visible: bool = True


class Session:
    """State of one window.

    Signals
    -------
    scan_changed(scan)
        Another scan is open (None: none).
    grown(new)
        Frames of the scan were recorded that were missing before, ``(y, x)`` bool.
    position_changed(y, x)
        Another pattern or spectrum is looked at, by scan position.
    region_changed(mask)
        Another region is averaged, ``(y, x)`` bool; None: single positions again.
    plane_changed(index)
        Another energy, time or angle of a stack; None: all of them summed.
    detectors_changed()
        Detectors were added, removed, renamed, recoloured or shown.
    detector_moved(key)
        One detector changed its shape or response.
    calibration_changed(calibration), phases_changed(), map_changed(map), peaks_changed(peaks)
        As they say.
    edited(change)
        The map or a label map was corrected at some pixels, in place; see
        `maps.edits.corrections.Change`.
    labels_changed(name)
        A label map was added, named or coloured.
    message(text)
        One line for the user; kept in `notes` until another scan is open.
    """

    scan_changed = Signal(object)
    grown = Signal(object)
    position_changed = Signal(int, int)
    region_changed = Signal(object)
    plane_changed = Signal(object)
    detectors_changed = Signal()
    detector_moved = Signal(int)
    calibration_changed = Signal(object)
    phases_changed = Signal()
    map_changed = Signal(object)
    peaks_changed = Signal(object)
    edited = Signal(object)
    labels_changed = Signal(str)
    message = Signal(str)

    def __init__(self) -> None:
        self.scan: Scan | None = None
        self.patterns: Scan | None = None
        self.reader: BlockReader | None = None
        #: Images and traces of a stack without patterns.
        self.stack_data: StackData | None = None
        self.position: tuple[int, int] = (0, 0)
        self.region: NDArray[np.bool_] | None = None
        self.plane: int | None = None
        self.beam_radius: float | None = None
        self.detectors: tuple[ListedDetector, ...] = ()
        self.selected: int | None = None
        self.in_colors = False
        self.phases: tuple[CrystalPhase, ...] = ()
        self.corrections: Corrections | None = None
        self.notes: tuple[str, ...] = ()
        self._keys = count(1)
        self.message.connect(self._note)

    # ---------------------------------------------------------------- scan
    def set_scan(self, scan: Scan | None) -> None:
        """Look at another scan; detectors, region and map of the old one go."""
        self.scan = scan
        self.plane = 0 if scan is not None and scan.kind in _BY_PLANE else None
        self._set_patterns()
        stack = self.stack
        self.stack_data = StackData(stack) if stack is not None else None
        rows, columns = self.grid
        self.position = (rows // 2, columns // 2)
        self.region = None
        self.beam_radius = None
        self.detectors = ()
        self.selected = None
        self.corrections = None
        self.notes = ()
        self.scan_changed.emit(scan)
        self.map_changed.emit(None)

    def grow(self, scan: Scan, new: NDArray[np.bool_]) -> None:
        """Take the same scan with more of its frames; everything else stays.

        Parameters
        ----------
        scan
            The scan as it is now.
        new
            ``(y, x)``: positions whose frame was missing before.

        Raises
        ------
        BadInputError
            If it is another scan.
        """
        if self.scan is None or scan.shape != self.scan.shape:
            raise BadInputError(f"{scan.name} is another scan than the one that was followed")
        peaks = None if self.patterns is None else self.patterns.peaks
        self.scan = scan.with_calibration(self.scan.calibration)
        self._set_patterns()
        if self.patterns is not None and peaks is not None:
            self.patterns = replace(self.patterns, peaks=peaks)
        self.grown.emit(new)

    def _set_patterns(self) -> None:
        scan = self.scan
        self.patterns = as_patterns(scan, self.plane or 0) if scan is not None else None
        if self.patterns is None:
            self.reader = None
            return
        try:
            keep = memory_allowed()
        except BadInputError as error:
            keep = KEEP_BYTES
            self.message.emit(str(error))
        # What no memory holds is read in small blocks: after each the mouse is heard.
        most = BLOCK_BYTES if self.patterns.nbytes <= keep else BLOCK_BYTES // 8
        self.reader = BlockReader(self.patterns, keep_bytes=keep, max_bytes=most)

    @property
    def grid(self) -> tuple[int, int]:
        """Sample positions ``(rows, columns)``; (1, 1) without a scan."""
        if self.patterns is not None:
            return self.patterns.shape[0], self.patterns.shape[1]
        if self.scan is not None:
            return self.scan.shape[-2], self.scan.shape[-1]
        return 1, 1

    @property
    def stack(self) -> Scan | None:
        """The scan when it is a stack of images over energy or time."""
        scan = self.scan
        return scan if scan is not None and scan.kind in ("STXM", "image series") else None

    @property
    def pictured(self) -> bool:
        """Whether the scan is an image or an image series: there is no second canvas to it."""
        return self.scan is not None and self.scan.kind in ("image", "image series")

    def _note(self, text: str) -> None:
        # napari's notifications go after seconds; what was said of a scan stays.
        if text not in self.notes:
            self.notes = (*self.notes, text)

    # ------------------------------------------------------------ position
    def set_position(self, y: int, x: int) -> None:
        """Look at the pattern or spectrum of one position (clipped to the scan)."""
        rows, columns = self.grid
        position = (min(max(int(y), 0), rows - 1), min(max(int(x), 0), columns - 1))
        if position == self.position and self.region is None:
            return
        region_ends = self.region is not None
        self.region = None
        self.position = position
        if region_ends:
            self.region_changed.emit(None)
        self.position_changed.emit(*position)

    def move(self, dy: int, dx: int) -> None:
        """Step from the present position."""
        self.set_position(self.position[0] + dy, self.position[1] + dx)

    def set_region(self, mask: NDArray[np.bool_] | None) -> None:
        """Average over a region ``(y, x)``; None goes back to the single position."""
        if mask is not None and mask.shape != self.grid:
            raise BadInputError(f"a region of {mask.shape} does not fit a scan of {self.grid}")
        self.region = mask
        self.region_changed.emit(mask)

    def set_plane(self, plane: int | None) -> None:
        """Show one energy, time or angle of a stack; None: the sum of all."""
        scan = self.scan
        if scan is None or len(scan.axes) not in (3, 5):
            return
        size = scan.axes[0].size
        plane = None if plane is None else min(max(int(plane), 0), size - 1)
        if scan.kind in _BY_PLANE and plane is None:
            plane = 0
        if plane == self.plane:
            return
        self.plane = plane
        if scan.kind == "nanodiffraction":
            self._set_patterns()
        self.plane_changed.emit(plane)

    # ----------------------------------------------------------- detectors
    def listed(self, key: int) -> ListedDetector | None:
        """A detector by its key."""
        return next((item for item in self.detectors if item.key == key), None)

    def add_detectors(self, detectors: Iterable[Detector], *, visible: bool = True) -> list[int]:
        """Add detectors to the list; names are made unique.  Returns their keys."""
        keys = []
        for detector in detectors:
            key = next(self._keys)
            named = replace(detector, name=self._free_name(detector.name))
            self.detectors = (*self.detectors, ListedDetector(key, named, visible))
            keys.append(key)
        if keys:
            self.selected = keys[-1]
            self.detectors_changed.emit()
        return keys

    def remove_detector(self, key: int) -> None:
        """Take a detector off the list."""
        self.detectors = tuple(item for item in self.detectors if item.key != key)
        if self.selected == key:
            self.selected = self.detectors[-1].key if self.detectors else None
        self.detectors_changed.emit()

    def change_detector(self, key: int, detector: Detector) -> None:
        """Move, reshape, rename or recolour a detector."""
        old = self.listed(key)
        if old is None or old.detector == detector:
            return
        if detector.name != old.detector.name:
            detector = replace(detector, name=self._free_name(detector.name, key))
        self._replace(replace(old, detector=detector))
        if (detector.name, detector.color) != (old.detector.name, old.detector.color):
            self.detectors_changed.emit()
        if (detector.shape, detector.response) != (old.detector.shape, old.detector.response):
            self.detector_moved.emit(key)

    def show_detector(self, key: int, visible: bool) -> None:
        """Open or close the eye of a detector's image."""
        old = self.listed(key)
        if old is not None and old.visible != visible:
            self._replace(replace(old, visible=visible))
            self.detectors_changed.emit()

    def select_detector(self, key: int | None) -> None:
        """Mark the detector that keys and forms act on."""
        if key != self.selected:
            self.selected = key
            self.detectors_changed.emit()

    def show_in_colors(self, on: bool) -> None:
        """Add the visible images up in their detectors' colours, or show one in grey."""
        if on != self.in_colors:
            self.in_colors = on
            self.detectors_changed.emit()

    def _replace(self, item: ListedDetector) -> None:
        self.detectors = tuple(item if old.key == item.key else old for old in self.detectors)

    def _free_name(self, name: str, but: int | None = None) -> str:
        taken = {item.detector.name for item in self.detectors if item.key != but}
        name = name.strip() or "detector"
        if name not in taken:
            return name
        return next(f"{name} {i}" for i in count(2) if f"{name} {i}" not in taken)

    # --------------------------------------------------------- calibration
    @property
    def calibration(self) -> Calibration:
        """Calibration of the scan; empty without one."""
        return self.scan.calibration if self.scan is not None else Calibration()

    def set_calibration(self, calibration: Calibration) -> None:
        """Give the patterns another centre, pixel size or voltage."""
        if self.scan is None or calibration == self.scan.calibration:
            return
        self.scan = self.scan.with_calibration(calibration)
        if self.patterns is not None:
            self.patterns = self.patterns.with_calibration(calibration)
            if self.patterns.peaks is not None:
                peaks = self.patterns.peaks.with_pixel_size(calibration.pixel_size)
                self.patterns = replace(self.patterns, peaks=peaks)
        self.calibration_changed.emit(calibration)

    def set_peaks(self, peaks: PeakTable | None) -> None:
        """Use a peak table of this scan for matching; None: the patterns themselves.

        Raises
        ------
        BadInputError
            If it is not of this scan's shape.
        """
        if self.patterns is None:
            raise BadInputError("open a scan with patterns first")
        if peaks is not None and peaks.shape != self.grid:
            raise BadInputError(
                f"the peaks have {peaks.shape[0]} × {peaks.shape[1]} positions, the scan"
                f" {self.grid[0]} × {self.grid[1]}"
            )
        self.patterns = replace(self.patterns, peaks=peaks)
        self.peaks_changed.emit(peaks)

    # -------------------------------------------------------- phases, maps
    def set_phases(self, phases: Iterable[CrystalPhase]) -> None:
        """What the sample may be."""
        self.phases = tuple(phases)
        self.phases_changed.emit()

    @property
    def map(self) -> PhaseMap | None:
        """The map as it is corrected, changed in place by every edit."""
        return None if self.corrections is None else self.corrections.map

    @property
    def answer(self) -> PhaseMap | None:
        """The map as a method found it."""
        return None if self.corrections is None else self.corrections.answer

    def set_map(self, found: PhaseMap | Corrections | None) -> None:
        """Show another map of phases or orientations, or one with its corrections.

        Raises
        ------
        BadInputError
            If it is not of this scan's shape.
        """
        from napari_diffmap.maps.edits.corrections import Corrections

        if found is not None and not isinstance(found, Corrections):
            found = Corrections(found)
        if found is not None and self.scan is not None and found.map.shape != self.grid:
            rows, columns = found.map.shape
            raise BadInputError(
                f"the map has {rows} × {columns} positions, the scan {self.grid[0]} ×"
                f" {self.grid[1]}: open the scan with scan shape {rows},{columns}, or another map"
            )
        self.corrections = found
        self.map_changed.emit(self.map)


_SESSIONS: WeakKeyDictionary[Any, Any] = WeakKeyDictionary()


def unwrap(viewer: Any) -> Any:
    """The viewer behind napari's plugin proxy: the proxy dies with the first widget."""
    return getattr(viewer, "__wrapped__", viewer)


def per_viewer(viewer: Any, make: Callable[[Any], Any]) -> Any:
    """The one object of a viewer, made at first asking and kept as long as the viewer."""
    key = unwrap(viewer)
    found = _SESSIONS.get(key)
    if found is None:
        found = make(key)
        _SESSIONS[key] = found
    return found
