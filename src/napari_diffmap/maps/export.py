"""Every way to save a map, in one place."""

from __future__ import annotations

from napari_diffmap.maps.save_ang import save_ang
from napari_diffmap.maps.save_h5 import load_orientation_h5, save_orientation_h5
from napari_diffmap.maps.save_tiff import save_maps_tiff, save_tiff, scalar_maps

__all__ = [
    "load_orientation_h5",
    "save_ang",
    "save_maps_tiff",
    "save_orientation_h5",
    "save_tiff",
    "scalar_maps",
]
