"""HDF5 layouts with a convention: HyperSpy, NeXus, EMD and py4DSTEM, FPD, Dectris."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from napari_diffmap.errors import ScanFileError
from napari_diffmap.scan.open import cxi, dectris, nexus, peaklist, stxm_nexus
from napari_diffmap.scan.open.calibrate import flatten
from napari_diffmap.scan.open.energies import energy_axis, is_energy_name, unit_in_name
from napari_diffmap.scan.open.found import Candidate, Found, Offer, RawAxis, Request
from napari_diffmap.scan.open.h5 import H5Region, Walk, attributes, scalar, text
from napari_diffmap.scan.open.signals import hyperspy_hdf5, read_signals
from napari_diffmap.scan.open.tidy import regular

_DATACUBE = ("DataCube", "Array")
#: Lists longer than this are no energies.
_MAX_LIST = 100_000


def special(path: Path, file: Any, request: Request) -> list[Offer] | None:
    """Layouts told at first sight, before the whole file is walked."""
    if ("Experiments" in file and request.dataset is None) or _names_experiment(file, request):
        offers = hyperspy_hdf5(path, file)
        if offers:
            return offers
    if dectris.is_master(file):
        return [dectris.master(path, file)]
    if "STEM Metadata" in file and "data" not in file:
        raise ScanFileError(
            f"{path.name}: holds scan settings, no frames: open {path.stem}_master.h5"
        )
    return None


def _names_experiment(file: Any, request: Request) -> bool:
    return "Experiments" in file and request.dataset in file["Experiments"]


def known(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """Layouts whose groups say what they are; empty for plain files."""
    if "/Data" in tree.groups and "/Version" not in tree.datasets and _is_velox(file):
        return velox(path)
    stxm = stxm_nexus.nxstxm(path, file, tree)
    if stxm:
        return stxm
    offers = _datacubes(path, file, tree) + peaklist.offers(path, file, tree)
    if offers:
        return offers
    if "fpd_version" in tree.groups["/"]:
        return _fpd(path, tree)
    if path.suffix.lower() == ".cxi" or "cxi_version" in file:
        return cxi.cxi(path, file, tree)
    return nexus.nxdata(path, file, tree) or _emd_arrays(path, tree)


def _is_velox(file: Any) -> bool:
    version = file.get("Version")
    return version is not None and "Velox" in str(text(np.asarray(version[()])))


def velox(path: Path) -> list[Offer]:
    """Thermo Fisher Velox images, through RosettaSciIO."""
    from napari_diffmap.scan.open.rosetta import offers_of

    return offers_of(path, "Velox EMD", read_signals(path, "rsciio.emd"))


def dimension_axes(dataset: Any, parent: Any) -> list[RawAxis] | None:
    """Axes from EMD ``dim`` datasets beside an array (numbered from 0 or from 1)."""
    base = 0 if "dim0" in parent else 1
    axes = []
    for i, size in enumerate(dataset.shape):
        node = parent.get(f"dim{i + base}")
        if node is None:
            return None
        attrs = attributes(node)
        axis = RawAxis(str(attrs.get("name") or ""), unit=attrs.get("units"))
        if node.dtype.kind in "biuf" and node.size:
            listed = np.asarray(node[()], dtype=np.float64).ravel()
            axis.scale, axis.offset, even = regular(listed)
            # Two numbers are start and next; a step is all an even axis needs.
            if not even and listed.size == size:
                axis.values = listed
            if size == 1:
                axis.scale = 1.0
        axes.append(axis)
    return axes


def stated_axes(name: str, dataset: Any, tree: Walk) -> list[RawAxis] | None:
    """Axes from EMD dims, HDF5 dimension scales or labels; None when nothing is said."""
    parent = dataset.parent
    axes = dimension_axes(dataset, parent)
    if axes is not None:
        return _by_position(axes)
    axes = []
    for i, size in enumerate(dataset.shape):
        dimension = dataset.dims[i]
        axis = RawAxis(str(dimension.label or ""))
        if len(dimension):
            scale = dimension[0]
            axis.name = axis.name or scale.name.rsplit("/", 1)[-1]
            axis.unit = attributes(scale).get("units")
            if scale.size == size and scale.dtype.kind in "biuf":
                listed = np.asarray(scale[()], dtype=np.float64)
                axis.scale, axis.offset, even = regular(listed)
                axis.values = None if even else listed
        axes.append(axis)
    if not any(a.name or a.unit for a in axes):
        labels = attributes(dataset).get("DIMENSION_LABELS")
        if not isinstance(labels, list) or len(labels) != dataset.ndim:
            return side_energy(name, dataset, tree)
        axes = [RawAxis(str(label)) for label in labels]
    return axes


def _by_position(axes: list[RawAxis]) -> list[RawAxis]:
    """py4DSTEM calls rows x: scan and detector axes are named by their place."""
    names = [a.name for a in axes]
    if names == ["Rx", "Ry", "Qx", "Qy"] or names == ["R_x", "R_y", "Q_x", "Q_y"]:
        for axis, name, role in zip(
            axes, ("y", "x", "ky", "kx"), ("scan", "scan", "detector", "detector"), strict=True
        ):
            axis.name, axis.role = name, role  # type: ignore[assignment]
    return axes


def side_energy(name: str, dataset: Any, tree: Walk) -> list[RawAxis] | None:
    """Axes of a stack whose energies are listed elsewhere in the file; None without a list.

    The list nearest to the stack counts; it belongs to the first axis of its length, looked at in
    the order first, last, middle.
    """
    if dataset.ndim != 3 or max(dataset.shape) < 2:
        return None
    lists = [
        (path, node)
        for path, node in tree.datasets.items()
        if is_energy_name(path) and node.ndim == 1 and 1 < node.size <= _MAX_LIST
    ]
    lists.sort(key=lambda item: _apart(name, item[0]))
    for path, node in lists:
        at = next((i for i in (0, 2, 1) if dataset.shape[i] == node.size), None)
        if at is None:
            continue
        listed = np.asarray(node[()], dtype=np.float64)
        word = path.rsplit("/", 1)[-1]
        unit = attributes(node).get("units") or unit_in_name(word)
        rest = [RawAxis("y"), RawAxis("x")]
        # Data Exchange keeps columns first: (x, y, energy).
        if at == 2 and "/exchange/" in f"/{name.strip('/')}":
            rest.reverse()
        return [*rest[:at], energy_axis(listed, unit), *rest[at:]]
    return None


def _apart(name: str, other: str) -> int:
    """How many groups lie between two paths."""
    a, b = name.strip("/").split("/")[:-1], other.strip("/").split("/")[:-1]
    common = 0
    for one, two in zip(a, b, strict=False):
        if one != two:
            break
        common += 1
    return len(a) + len(b) - 2 * common


def _datacubes(path: Path, file: Any, tree: Walk) -> list[Offer]:
    """py4DSTEM datacubes with their calibration, old and new."""
    offers = []
    for group, attrs in tree.groups.items():
        kind = attrs.get("python_class") or attrs.get("py4dstem_class")
        node = tree.datasets.get(f"{group}/data")
        if kind != "DataCube" or node is None or node.ndim != 4:
            continue
        name = f"{group}/data"
        region, axes = H5Region.of(path, name, node), stated_axes(name, node, tree)

        def load(group: str = group, region: Any = region, axes: Any = axes) -> Found:
            stated = axes or [RawAxis() for _ in region.shape]
            found = Found(
                region, stated, "py4DSTEM", path.stem, path, kind="4D-STEM", diffraction=True
            )
            apply_py4dstem_calibration(found, file_calibration(path))
            return found

        offers.append(
            Offer(Candidate(group.strip("/"), node.shape, str(region.dtype), "4D-STEM"), load)
        )
    return offers


def file_calibration(path: Path) -> dict[str, Any]:
    """The values of py4DSTEM's Calibration in a file, by name."""
    from napari_diffmap.scan.open.h5 import opened, walk

    values: dict[str, Any] = {}
    with opened(path) as file:
        for group, attrs in walk(file).groups.items():
            named = group.rsplit("/", 1)[-1] == "calibration"
            if attrs.get("python_class") == "Calibration" or named:
                node = file[group]
                values |= {k: v for k, v in attributes(node).items() if "class" not in k}
                for key in node:
                    value = scalar(file, f"{group}/{key}")
                    if value is not None:
                        values[key] = value
    return values


def apply_py4dstem_calibration(found: Found, values: dict[str, Any]) -> None:
    """Pixel sizes and mean origin; rows are x in py4DSTEM's words."""
    found.metadata = {**flatten(values, "calibration.")}
    for names, key in (((0, 1), "R"), ((2, 3), "Q")):
        size, unit = values.get(f"{key}_pixel_size"), values.get(f"{key}_pixel_units")
        if isinstance(size, int | float) and unit not in (None, "pixels"):
            for i in names:
                axis = found.axes[i]
                axis.scale, axis.unit = float(size), unit
    rows, columns = values.get("qx0_mean"), values.get("qy0_mean")
    if isinstance(rows, int | float) and isinstance(columns, int | float):
        found.center = (float(rows), float(columns))
    voltage = values.get("accelerating_voltage") or values.get("beam_energy")
    if isinstance(voltage, int | float):
        found.voltage_kv = float(voltage)


def _fpd(path: Path, tree: Walk) -> list[Offer]:
    """FPD container: the frames of its fpd_data group; images beside it by name."""
    name = "/fpd_expt/fpd_data/data"
    node = tree.datasets.get(name)
    if node is None:
        return []
    region = H5Region.of(path, name, node)
    names = ["y", "x", "", "ky", "kx"][-region.ndim :]
    axes = [RawAxis(name) for name in names] if region.ndim <= 5 else []
    stated = [attributes(node.parent.get(f"dim{i + 1}", node)) for i in range(region.ndim)]
    for axis, attrs in zip(axes, stated, strict=False):
        # Units such as '?/m' stand for nothing measured.
        axis.unit = None if "?" in str(attrs.get("units")) else attrs.get("units")
        if axis.unit in ("colour_index", "val"):
            axis.unit = None

    def load() -> Found:
        return Found(
            region,
            axes or [RawAxis() for _ in region.shape],
            "FPD",
            path.stem,
            path,
            diffraction=True,
            metadata=flatten(tree.groups["/"]),
        )

    return [Offer(Candidate(name.strip("/"), region.shape, str(region.dtype), "4D-STEM"), load)]


def _emd_arrays(path: Path, tree: Walk) -> list[Offer]:
    """Berkeley EMD: every group marked as an EMD array."""
    from napari_diffmap.scan.open.hdf5 import generic

    nodes = [
        (f"{group}/data", tree.datasets[f"{group}/data"])
        for group, attrs in tree.groups.items()
        if attrs.get("emd_group_type") in (1, "array") and f"{group}/data" in tree.datasets
    ]
    stacks = [n for n in nodes if n[1].ndim >= 3] or [n for n in nodes if n[1].ndim == 2]
    return [_as_emd(generic(path, name, node, tree)) for name, node in stacks]


def _as_emd(offer: Offer) -> Offer:
    def load() -> Found:
        found = offer.load()
        found.format = "EMD"
        return found

    return Offer(offer.candidate, load)
