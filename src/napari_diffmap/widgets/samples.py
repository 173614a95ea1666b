"""Sample scans of the File menu: some that are made here, two that are fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_diffmap.errors import ResourceError
from napari_diffmap.widgets import reader
from napari_diffmap.widgets.opening import prepare_for

if TYPE_CHECKING:
    from napari_diffmap.methods.defects.simulated_movie import SimulatedMovie
    from napari_diffmap.scan.scan import Scan

#: pyxem's data functions and the files they leave in pyxem's cache.
_FILES = {"sped_ag": "SPED-Ag.zspy", "cuag_orientations": "cuzipProcessed.zspy"}
#: One Zenodo record holds both.
RECORD = "zenodo.org/records/15490547"
LICENCE = f"CC BY 4.0, {RECORD}"


def linio2() -> list[Any]:
    """Simulated LiNiO2 polycrystal with known truth; made on first use."""
    return _sample("LiNiO2 polycrystal", _bundled)


def sped_ag() -> list[Any]:
    """Measured precession scan of silver."""
    return _sample("SPED-Ag", lambda: fetch("sped_ag"), LICENCE)


def cuag() -> list[Any]:
    """Measured scan of copper grains in a Cu-Ag alloy."""
    return _sample("CuAg", lambda: fetch("cuag_orientations"), LICENCE)


def sodium_stack() -> list[Any]:
    """Simulated STXM stack of NaxV2(PO4)2F3 particles with its references."""
    return _sample("NaxV2(PO4)2F3 stack", _stack, after=_references)


def doped_movie() -> list[Any]:
    """Simulated movie of Mo-doped WS2 with moving sulphur vacancies and switching complexes."""
    return _sample("Mo-doped WS2 movie", _movie)


def _movie() -> Scan:
    from napari_diffmap.methods.defects.simulated_movie import movie

    return movie_scan(movie())


def movie_scan(made: SimulatedMovie) -> Scan:
    """A simulated movie as a scan in nm and s."""
    import dask.array as da

    from napari_diffmap.scan.axes import Axis
    from napari_diffmap.scan.scan import Scan

    frames, rows, columns = made.frames.shape
    size = made.pixel_size_nm
    return Scan(
        da.from_array(made.frames, chunks=(1, rows, columns)),
        (
            Axis("time", frames, made.frame_time_s, 0.0, "s"),
            Axis("y", rows, size, 0.0, "nm"),
            Axis("x", columns, size, 0.0, "nm"),
        ),
        "image series",
        "Mo-doped WS2 (simulated)",
        format="simulated",
    )


def _stack() -> Scan:
    from napari_diffmap.methods.spectra.simulated import simulated_scan

    return simulated_scan(12, 2000)[0]


def _references(bench: Any) -> None:
    """Put the references of the simulated stack into the list of the Map dock."""
    from napari_diffmap.methods.spectra.simulated import simulated_references

    bench.spectral.references.set(simulated_references())


def _bundled() -> Scan:
    from napari_diffmap.crystal.sample import sample_scan

    return sample_scan()[0]


def fetch(name: str) -> Scan:
    """A measured scan of pyxem's collection, downloaded once and opened lazily.

    Parameters
    ----------
    name
        A function of ``pyxem.data``.

    Raises
    ------
    ResourceError
        If it cannot be downloaded.
    """
    from napari_diffmap.scan.open import open_scan

    path = cached(name)
    if path is None:
        try:
            import pyxem.data

            getattr(pyxem.data, name)(allow_download=True, lazy=True)
        except (OSError, ValueError, KeyError) as error:
            raise ResourceError(
                f"cannot download {_FILES[name]} from {RECORD}: connect to the internet and try"
                " again, or put the file into pyxem's data folder (PYXEM_DATA_DIR)"
            ) from error
        path = cached(name)
    if path is None:
        raise ResourceError(f"{_FILES[name]} was fetched but is not in pyxem's data folder")
    return open_scan(path)


def cached(name: str) -> Path | None:
    """The file of a sample in pyxem's data folder, None before the first download."""
    import pooch

    folder = Path(os.environ.get("PYXEM_DATA_DIR") or pooch.os_cache("pyxem"))
    found = sorted(folder.rglob(_FILES[name])) if folder.is_dir() else []
    return found[-1] if found else None


def _sample(
    name: str,
    load: Callable[[], Scan],
    licence: str = "",
    after: Callable[[Any], None] | None = None,
) -> list[Any]:
    """Layer data of a sample; with a window the scan is loaded beside it.

    Napari wants layer data at once, so a placeholder stands in until the
    workspace shows the scan in it.
    """
    from napari_diffmap.viewer.sample_layers import METADATA_KEY

    if reader._current_window() is None:
        return [reader.layer_for(load())]
    number = next(reader._numbers)
    reader._soon(lambda bench: _load(bench, number, name, load, licence, after))
    meta = {METADATA_KEY: {"schema": 1, "role": "virtual image", "scan": number}}
    options = {
        "name": f"{name} (loading)",
        "metadata": meta,
        "contrast_limits": (0.0, 1.0),
        "rgb": False,
        **reader.placeholder_place({}),
    }
    return [(np.zeros((2, 2), dtype=np.float32), options, "image")]


def _load(
    bench: Any,
    number: int,
    name: str,
    load: Callable[[], Scan],
    licence: str = "",
    after: Callable[[Any], None] | None = None,
) -> None:
    from napari_diffmap.widgets.bridge import report, report_error

    def done(scan: Scan) -> None:
        bench.opening.busy.emit(None)
        reader._waiting[number] = scan
        reader.take_over(bench, number)
        if after is not None:
            after(bench)
        if licence:
            report(f"{name}: {licence}")

    def failed(error: Exception) -> None:
        bench.opening.busy.emit(None)
        reader.drop_placeholder(bench, number)
        report_error(error)

    bench.opening.busy.emit(Path(name))

    def work(_token: object) -> Scan:
        scan = load()
        prepare_for(scan)
        return scan

    bench.runner.latest("sample", work, done, failed=failed)
