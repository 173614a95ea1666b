"""Opening and saving scans: one door for every format.

`open_scan` reads what RosettaSciIO reads, generic HDF5 and Zarr, raw bytes,
py4DSTEM peak lists and STXM stacks; everything stays on disk until it is
looked at.  What a file promises is checked against what it holds, and every
correction or guess is a line in ``Scan.warnings``.

Modules
-------
door
    From a path to a scan; errors in one line.
sniff
    What a file is, by its first bytes.
arrays merlin blockfile mrc als tiff hdf5 signals rosetta …
    One family of formats each; they hand on a `found.Found`.
build
    From what was found to a `Scan`: kind (`classify`), axes (`tidy`),
    calibration (`calibrate`), values (`values`).
regions
    Lazy views of files.
"""

from napari_diffmap.scan.open.door import list_datasets, open_scan
from napari_diffmap.scan.open.found import Candidate
from napari_diffmap.scan.open.save import save_scan
from napari_diffmap.scan.open.sniff import supported_extensions

__all__ = ["Candidate", "list_datasets", "open_scan", "save_scan", "supported_extensions"]
