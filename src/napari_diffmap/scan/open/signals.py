"""RosettaSciIO signal dictionaries, and HyperSpy's own files, as found arrays."""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
from dask.local import get_sync
from numpy.typing import NDArray

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open.calibrate import first, flatten, lookup, plausible_voltage
from napari_diffmap.scan.open.energies import is_energy_name
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.h5 import H5Region
from napari_diffmap.scan.open.regions import Index, Region, native
from napari_diffmap.scan.scan import AXIS_NAMES

#: Where saved scans keep what HyperSpy has no place for.
OWN_KEY = "napari_diffmap"
#: Arrays among metadata are read up to this many values.
_MAX_METADATA = 1 << 22
_BEAM_ENERGY = (
    "Acquisition_instrument.TEM.beam_energy",
    "Acquisition_instrument.STEM.beam_energy",
    "Acquisition_instrument.SEM.beam_energy",
)


def raw_axis(axis: Mapping[str, Any], role: Any = None) -> RawAxis:
    """A RosettaSciIO axis dictionary as an axis."""
    values = axis.get("axis")
    unit = axis.get("units")
    return RawAxis(
        name=str(axis.get("name") or ""),
        scale=_number(axis.get("scale"), 1.0),
        offset=_number(axis.get("offset"), 0.0),
        unit=None if str(unit) in ("None", "<undefined>", "[]") else unit,
        role=role,
        values=None if values is None else np.asarray(values, dtype=np.float64),
    )


def _number(value: Any, default: float) -> float:
    try:
        return default if value is None else float(value)
    except (TypeError, ValueError):
        return default


def from_signal(
    signal: Mapping[str, Any],
    path: Path,
    format_name: str,
    data: Region | da.Array | None = None,
    name: str | None = None,
) -> Found:
    """What a RosettaSciIO signal dictionary says.

    Parameters
    ----------
    signal
        As returned by ``rsciio.<plugin>.file_reader``.
    data
        Lazy data to use instead of the dictionary's.
    """
    array = signal["data"] if data is None else data
    if isinstance(array, np.ndarray):
        array = da.from_array(array, chunks=array.shape)
    described = list(signal.get("axes") or [])
    navigates = [a.get("navigate") for a in described]
    mixed = True in navigates and False in navigates
    axes = [
        raw_axis(a, ("scan" if a.get("navigate") else "detector") if mixed else None)
        for a in described
    ]
    if len(axes) != len(array.shape):
        axes = [RawAxis() for _ in array.shape]
    metadata = signal.get("metadata") or {}
    original = signal.get("original_metadata") or {}
    found = Found(
        array,
        axes,
        format_name,
        name or _title(metadata) or path.stem,
        path,
        diffraction=_diffraction(metadata),
        voltage_kv=plausible_voltage(
            first([lookup(metadata, key) for key in _BEAM_ENERGY] + [_mapped_energy(signal)])
        ),
        metadata=flatten(metadata) | flatten(original, "original."),
    )
    _restore(found, original)
    return found


def _title(metadata: Mapping[str, Any]) -> str:
    title = lookup(metadata, "General.title")
    return title.strip() if isinstance(title, str) else ""


def _diffraction(metadata: Mapping[str, Any]) -> bool | None:
    kind = lookup(metadata, "Signal.signal_type")
    return True if isinstance(kind, str) and "diffraction" in kind.lower() else None


def _mapped_energy(signal: Mapping[str, Any]) -> Any:
    """Beam energy that a reader leaves to be mapped from the original metadata."""
    for source, (target, function) in (signal.get("mapping") or {}).items():
        if target in _BEAM_ENERGY:
            value = lookup(signal.get("original_metadata") or {}, source)
            if value is not None:
                return function(value) if function else value
    return None


def _restore(found: Found, original: Mapping[str, Any]) -> None:
    """Kind, centre, calibration and missing frames of a scan saved by `save_scan`."""
    own = original.get(OWN_KEY)
    if not isinstance(own, Mapping):
        return
    kind = own.get("kind")
    if kind in AXIS_NAMES and len(AXIS_NAMES[kind]) == len(found.shape):
        found.kind = kind
    center = own.get("center")
    if center is not None and np.size(center) == 2:
        found.center = (float(center[0]), float(center[1]))
    if own.get("pixel_size") is not None:
        found.pixel_size = float(own["pixel_size"])
    if own.get("missing") is not None:
        found.missing = np.asarray(own["missing"]).astype(bool)
    if isinstance(own.get("name"), str):
        found.name = own["name"]


class ZarrRegion(Region):
    """A Zarr v2 array; the store is opened for each read.

    Attributes
    ----------
    absent_blocks
        Blocks that are not in the store and read as its fill value.
    """

    absent_blocks: int = 0

    def __init__(self, path: Path, key: str, shape: tuple[int, ...], dtype: Any) -> None:
        self.path = path
        self.key = key
        self.shape = tuple(int(n) for n in shape)
        self.dtype = native(np.dtype(dtype))

    @classmethod
    def of(cls, path: Path, key: str, array: Any) -> ZarrRegion:
        """Region of an open Zarr array."""
        region = cls(path, key, array.shape, array.dtype)
        region.stored_chunks = tuple(array.chunks)
        region.absent_blocks = int(array.nchunks) - int(array.nchunks_initialized)
        return region

    def read(self, index: Index) -> NDArray[Any]:
        """Open, read."""
        import zarr

        with zarr_store(self.path) as store:
            root = zarr.open(store, mode="r")
            return np.asarray((root[self.key] if self.key else root)[index])


@contextlib.contextmanager
def zarr_store(path: Path) -> Iterator[Any]:
    """Zarr v2 store of a folder, or of a zipped .zspy as pyxem's example scans are."""
    import zarr

    if not path.is_file():
        yield str(path)
        return
    with zarr.ZipStore(str(path), mode="r") as store:
        yield store


def hyperspy_hdf5(path: Path, file: Any) -> list[Offer]:
    """Experiments of a .hspy file of any version."""
    group = file["Experiments"]
    names = [key for key in group if "data" in group[key]]
    if any(group[key]["data"].chunks is None for key in names):
        signals = [_by_hand(group[key]) for key in names]
    else:
        signals = read_signals(path, "rsciio.hspy")
    regions = [H5Region.of(path, f"/Experiments/{k}/data", group[k]["data"]) for k in names]
    return _experiments(path, "HyperSpy", names, regions, signals)


def _by_hand(group: Any) -> dict[str, Any]:
    """A signal whose array is stored in one piece, which RosettaSciIO cannot read lazily."""
    from napari_diffmap.scan.open.h5 import attributes

    def tree(node: Any) -> dict[str, Any]:
        plain = attributes(node)
        plain.update({k: tree(v) for k, v in node.items() if hasattr(v, "items")})
        return plain

    data = group["data"]
    axes = [attributes(group[f"axis-{i}"]) for i in range(data.ndim) if f"axis-{i}" in group]
    return {
        "data": np.empty((0,) * data.ndim),
        "axes": axes,
        "metadata": tree(group["metadata"]) if "metadata" in group else {},
        "original_metadata": tree(group["original_metadata"])
        if "original_metadata" in group
        else {},
    }


def hyperspy_zarr(path: Path, root: Any) -> list[Offer]:
    """Experiments of a .zspy folder."""
    group = root["Experiments"]
    names = [key for key in group if "data" in group[key]]
    regions = [ZarrRegion.of(path, f"Experiments/{key}/data", group[key]["data"]) for key in names]
    return _experiments(path, "HyperSpy Zarr", names, regions, read_signals(path, "rsciio.zspy"))


def _experiments(
    path: Path,
    format_name: str,
    names: list[str],
    regions: list[Any],
    signals: list[dict[str, Any]],
) -> list[Offer]:
    if len(signals) < len(names):
        raise ScanFileError(f"{path.name}: is damaged: {len(signals)} of {len(names)} signals read")
    offers = []
    for name, region, signal in zip(names, regions, signals, strict=False):
        if len(region.shape) < 2 and len(names) > 1:
            continue

        def load(name: str = name, region: Region = region, signal: Any = signal) -> Found:
            title = None if len(names) == 1 else f"{path.stem} {name}"
            return from_signal(signal, path, format_name, region, title)

        candidate = Candidate(name, region.shape, str(region.dtype), _signal_kind(signal, region))
        offers.append(Offer(candidate, load))
    return offers


def _signal_kind(signal: Mapping[str, Any], region: Region) -> str:
    names = [str(axis.get("name")) for axis in signal.get("axes") or []]
    if region.ndim == 3 and names and is_energy_name(names[0]):
        return "STXM"
    return {4: "4D-STEM", 2: "image", 1: "list"}.get(
        region.ndim, str(lookup(signal.get("metadata") or {}, "Signal.signal_type") or "stack")
    )


def read_signals(path: Path, plugin: str, **options: Any) -> list[dict[str, Any]]:
    """Read a file with a RosettaSciIO plugin, closing what it keeps open.

    Raises
    ------
    ScanFileError
        If the reader cannot read it.
    """
    module = importlib.import_module(plugin)
    try:
        zipped = plugin == "rsciio.zspy" and path.is_file()
        with zarr_store(path) if zipped else contextlib.nullcontext(str(path)) as source:
            signals: list[dict[str, Any]] = module.file_reader(source, lazy=True, **options)
            for signal in signals:
                for key in ("metadata", "original_metadata"):
                    signal[key] = _settled(signal.get(key) or {})
    except KeyError as error:
        reason = " ".join(str(error).split())[:100].strip("'")
        raise ScanFileError(f"{path.name}: is damaged ({reason}): copy it again") from error
    finally:
        if plugin == "rsciio.hspy":
            # The reader keeps the file open for its own lazy arrays, which are not used here.
            with contextlib.suppress(ImportError, AttributeError):
                importlib.import_module("rsciio.hspy._api")._close_tracked_handles(str(path))
    return signals


def _settled(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Metadata with its lazy arrays read, as their file is closed next; large ones go."""
    settled: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            settled[key] = _settled(value)
        elif not isinstance(value, da.Array):
            settled[key] = value
        elif value.size <= _MAX_METADATA:
            settled[key] = np.asarray(value.compute(scheduler=get_sync))
    return settled


def zarr_folder(path: Path, request: Request) -> list[Offer]:
    """A .zspy or any Zarr v2 group or array, in a folder or zipped."""
    import zarr

    with contextlib.ExitStack() as stack:
        try:
            root = zarr.open(stack.enter_context(zarr_store(path)), mode="r")
        except (ValueError, OSError, KeyError) as error:
            raise ScanFileError(
                f"{path.name}: is an incomplete Zarr store: copy it again"
            ) from error
        return _zarr_offers(path, root, request)


def _zarr_offers(path: Path, root: Any, request: Request) -> list[Offer]:
    if hasattr(root, "shape"):
        return [_zarr_offer(path, "", root, only=True)]
    if "Experiments" in root and (request.dataset or "Experiments") != "/":
        return hyperspy_zarr(path, root)
    arrays: dict[str, Any] = {}
    root.visititems(
        lambda key, node: arrays.update({key: node}) if hasattr(node, "shape") else None
    )
    numeric = {k: a for k, a in arrays.items() if a.dtype.kind in "biufc"}
    stacks = {k: a for k, a in numeric.items() if len(a.shape) >= 3}
    pictures = {k: a for k, a in numeric.items() if len(a.shape) == 2}
    chosen = stacks or pictures
    if not chosen:
        raise ScanFileError(f"{path.name}: holds no patterns and no images")
    return [_zarr_offer(path, k, a, only=len(chosen) == 1) for k, a in chosen.items()]


def _zarr_offer(path: Path, key: str, array: Any, *, only: bool) -> Offer:
    from napari_diffmap.scan.open.hdf5 import apply_attributes

    region = ZarrRegion.of(path, key, array)
    attrs = {str(k): v for k, v in dict(array.attrs).items()}
    names = attrs.get("_ARRAY_DIMENSIONS")
    fits = isinstance(names, list) and len(names) == region.ndim
    axes = [RawAxis(str(n)) for n in names] if fits and names else [RawAxis() for _ in region.shape]

    def load() -> Found:
        name = path.stem if only else f"{path.stem} {key}"
        metadata = flatten(attrs)
        found = Found(region, axes, "Zarr", name, path, metadata=metadata)
        apply_attributes(found, metadata)
        return found

    kind = {4: "4D-STEM", 2: "image"}.get(region.ndim, "stack")
    return Offer(Candidate(key or "/", region.shape, str(region.dtype), kind), load)
