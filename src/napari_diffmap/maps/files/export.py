"""Every way to save a map, in one place."""

from __future__ import annotations

from napari_diffmap.maps.files.save_ang import save_ang
from napari_diffmap.maps.files.save_ctf import save_ctf
from napari_diffmap.maps.files.save_h5 import load_orientation_h5, save_orientation_h5
from napari_diffmap.maps.files.save_tiff import save_maps_tiff, save_tiff, scalar_maps
from napari_diffmap.maps.labels.named import NamedLabels
from napari_diffmap.maps.labels.save import (
    load_labels,
    save_label_groups,
    save_labels,
    save_labels_tiff,
    save_labels_zarr,
)

__all__ = [
    "NamedLabels",
    "load_labels",
    "load_orientation_h5",
    "save_ang",
    "save_ctf",
    "save_label_groups",
    "save_labels",
    "save_labels_tiff",
    "save_labels_zarr",
    "save_maps_tiff",
    "save_orientation_h5",
    "save_tiff",
    "scalar_maps",
]
