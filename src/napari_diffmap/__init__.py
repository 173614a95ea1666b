"""Map materials with diffraction: open, look, map, doubt, correct, save.

Importing the package is cheap: napari, Qt, torch and pyxem load only when a
window opens or a method runs.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("napari-diffmap")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
