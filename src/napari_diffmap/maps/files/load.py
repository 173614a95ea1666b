"""Open a map file, whatever wrote it."""

from __future__ import annotations

from pathlib import Path

from napari_diffmap.errors import BadInputError
from napari_diffmap.maps.orientation_map import OrientationMap
from napari_diffmap.maps.provenance import InputFile, Provenance

SUFFIXES = (".ang", ".ctf", ".h5", ".hdf5", ".h5ebsd")


def load_map(path: str | Path) -> OrientationMap:
    """Open an orientation map: .ang, .ctf, or HDF5 of this package, orix, EMsoft or Bruker.

    Parameters
    ----------
    path
        The file.  See `read_ang.read_ang` and `read_ctf.read_ctf` for what is
        kept and what is converted.

    Returns
    -------
    OrientationMap
        Everything that was mended or is doubtful is in its ``warnings``.

    Raises
    ------
    BadInputError
        If the file is missing, unknown or damaged; one line that says what to do.
    """
    place = Path(path)
    if not place.is_file():
        raise BadInputError(f"there is no file {place}")
    suffix = place.suffix.lower()
    if suffix == ".ang":
        from napari_diffmap.maps.files.read_ang import read_ang

        return read_ang(place)
    if suffix == ".ctf":
        from napari_diffmap.maps.files.read_ctf import read_ctf

        return read_ctf(place)
    if suffix in (".h5", ".hdf5", ".h5ebsd"):
        return _load_h5(place)
    raise BadInputError(
        f"{place.name} is no orientation map: open one that ends in {', '.join(SUFFIXES)}"
    )


def _load_h5(path: Path) -> OrientationMap:
    from napari_diffmap.maps.files.load_defects import is_defects_h5
    from napari_diffmap.maps.files.read_edax_h5 import is_edax_h5, read_edax_h5
    from napari_diffmap.maps.files.save_h5 import is_own_h5, load_orientation_h5
    from napari_diffmap.maps.files.save_spectral_h5 import is_spectral_h5

    try:
        if is_spectral_h5(path):
            raise BadInputError(
                f"{path.name} holds phases of spectra and no orientations: open its scan and its"
                " session instead"
            )
        if is_defects_h5(path):
            raise BadInputError(
                f"{path.name} holds defects and no orientations: open its images with --results"
            )
        if is_own_h5(path):
            return load_orientation_h5(path)
        if is_edax_h5(path):
            return read_edax_h5(path)
        return _load_with_orix(path)
    except OSError as error:
        raise BadInputError(
            f"{path.name} is damaged or no HDF5 file: copy or export it again"
        ) from error


def _load_with_orix(path: Path) -> OrientationMap:
    from orix import io as orix_io

    try:
        crystal_map = orix_io.load(str(path))
    except (KeyError, ValueError, AttributeError, TypeError, IndexError) as error:
        # orix lets whatever went wrong inside a file it does not know fall through.
        raise BadInputError(
            f"{path.name} holds no orientation map that can be read: export it as .ang or .ctf"
        ) from error
    found = OrientationMap.from_crystal_map(crystal_map)
    record = Provenance.collect(
        inputs=[InputFile.from_path(path, format="HDF5", shape=found.shape)],
        method="imported HDF5",
    )
    return found.replaced(provenance=record)
