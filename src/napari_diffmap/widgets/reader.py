"""npe2 reader: whatever way a file reaches napari, it ends in the workspace."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from napari_diffmap.scan.scan import Scan

LayerData = tuple[Any, dict[str, Any], str]
#: napari's way to say "read, but adds no layer".
NOTHING: list[Any] = [(None,)]
#: Names of files that open better elsewhere unless they hold a stack.
_PICTURES = frozenset({".tif", ".tiff", ".npy"})

#: Each scan on its way into a window gets a number, kept in the metadata of its layer.
_numbers = count(1)
#: Scans that wait for their workspace, by the number in the layer's metadata.
_waiting: dict[int, Scan] = {}


def get_reader(path: str | Sequence[str]) -> Callable[[Any], list[Any]] | None:
    """npe2 reader hook: a function for files that can be a scan, else None."""
    if not isinstance(path, str):
        return None
    suffix = Path(path).suffix.lower()
    if suffix in _PICTURES and not _is_stack(Path(path)):
        return None
    return read


def _is_stack(path: Path) -> bool:
    """Whether a picture file has more than two dimensions; plain pictures stay napari's."""
    try:
        if path.suffix.lower() == ".npy":
            return np.load(path, mmap_mode="r").ndim > 2
        import tifffile

        with tifffile.TiffFile(path) as file:
            return len(file.series) > 0 and len(file.series[0].shape) > 2
    except (OSError, ValueError, EOFError):
        return False


def read(path: str) -> list[Any]:
    """Open a scan for napari.

    With a window, the layer is a placeholder for the virtual image that the
    workspace takes over at once; without one, it is the virtual image.
    """
    from napari_diffmap.errors import (
        BadInputError,
        ChooseDatasetError,
        DiffmapError,
        NeedsShapeError,
    )
    from napari_diffmap.jobs.session_file import is_session
    from napari_diffmap.scan.open import open_scan
    from napari_diffmap.widgets.bridge import report_error

    has_window = _current_window() is not None
    if is_session(Path(path)):
        if not has_window:
            raise BadInputError(f"{path} is a session: open it in the window")
        _soon(lambda bench: bench.opening.open(path))
        return NOTHING
    try:
        scan = open_scan(path)
    except (ChooseDatasetError, NeedsShapeError):
        if not has_window:
            raise
        # The workspace asks the user.
        _soon(lambda bench: bench.opening.open(path))
        return NOTHING
    except DiffmapError as error:
        if not has_window:
            raise
        # napari would tell that a plugin failed, and hide the line that helps.
        report_error(error)
        return NOTHING
    return [layer_for(scan)]


def layer_for(scan: Scan) -> LayerData:
    """The sample image of a scan as napari layer data, and the workspace to follow."""
    from napari_diffmap.viewer.sample_layers import METADATA_KEY
    from napari_diffmap.viewer.views import geometry, sample_grid

    grid = sample_grid(scan)
    place = geometry(grid)
    meta: dict[str, Any] = {"schema": 1, "role": "virtual image", "source": str(scan.source or "")}
    if _current_window() is None:
        image = sample_image(scan)
    else:
        image = np.zeros((grid[0].size, grid[1].size), dtype=np.float32)
        place = placeholder_place(place)
        number = next(_numbers)
        meta["scan"] = number
        _waiting[number] = scan
        _soon(lambda bench: take_over(bench, number))
    options = {"name": scan.name, "metadata": {METADATA_KEY: meta}, "rgb": False, **place}
    if _current_window() is not None:
        options["contrast_limits"] = (0.0, 1.0)
    return image, options, "image"


def placeholder_place(place: dict[str, Any]) -> dict[str, Any]:
    """Geometry of a layer that stands in for a moment: in the units of what is shown now.

    The layers of the old scan are still there when napari adds it; units that
    disagree would make napari warn.
    """
    viewer = _current_window()
    shown = [layer.units[-2:] for layer in viewer.layers if layer.ndim >= 2]
    return {**place, "units": shown[0]} if shown else place


def sample_image(scan: Scan) -> np.ndarray[Any, Any]:
    """What the sample looks like: the sum of all counts, or the mean of a stack."""
    from napari_diffmap.scan.detectors import Detector, Rectangle, virtual_images
    from napari_diffmap.viewer.stack_data import StackData
    from napari_diffmap.viewer.views import as_patterns

    patterns = as_patterns(scan)
    if patterns is None:
        return np.asarray(scan.data) if scan.kind == "image" else StackData(scan).image(None)
    ky, kx = patterns.shape[2:]
    return virtual_images(patterns, [Detector("sum", Rectangle(0, 0, ky, kx))])[0]


def take_over(bench: Any, number: int) -> None:
    """Let the workspace show a scan in the layer that napari added for it."""
    scan = _waiting.pop(number, None)
    if scan is not None:
        bench.opening.show(scan, adopt=_placeholder(bench, number))


def drop_placeholder(bench: Any, number: int) -> None:
    """Remove the layer of a scan that could not be loaded."""
    layer = _placeholder(bench, number)
    if layer is not None:
        bench.desk.sample.viewer.layers.remove(layer)


def _placeholder(bench: Any, number: int) -> Any:
    from napari_diffmap.viewer.sample_layers import METADATA_KEY

    return next(
        (
            layer
            for layer in bench.desk.sample.viewer.layers
            if layer.metadata.get(METADATA_KEY, {}).get("scan") == number
        ),
        None,
    )


def _current_window() -> Any:
    """The napari window that files are opened in; None for bare models."""
    import sys

    if "napari.viewer" not in sys.modules or "qtpy" not in sys.modules:
        return None
    from napari import current_viewer

    return current_viewer()


def _soon(call: Callable[[Any], None]) -> None:
    """Call with the workbench of the current window, once napari has added its layers."""
    from qtpy.QtCore import QTimer

    viewer = _current_window()

    def act() -> None:
        from napari_diffmap.widgets.workspace import arrange

        call(arrange(viewer))

    QTimer.singleShot(0, act)
