"""``info`` and ``virtual``: what is in a file, and one virtual image of it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import Numbers, as_keywords, json_option, scan_options
from napari_diffmap.cli.words import on_the_command_line
from napari_diffmap.errors import BadInputError, CalibrationError

if TYPE_CHECKING:
    from napari_diffmap.scan.detectors import Annulus
    from napari_diffmap.scan.scan import Scan


def open_from_options(file: str, options: dict[str, Any]) -> Scan:
    """Open a scan as the shared options say."""
    from napari_diffmap.scan.open import open_scan

    return open_scan(file, **as_keywords(options))


def import_dask_quickly() -> None:
    """Import dask without the sparse arrays and transforms it registers when they are there.

    They bring scipy and numba, which cost 1.5 s that a look into a file does not
    need.  Only for a command that ends after its look.
    """
    if "dask.array" in sys.modules:
        return
    absent = [name for name in ("scipy", "sparse") if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))  # type: ignore[arg-type]
    try:
        import dask.array  # noqa: F401
    finally:
        for name in absent:
            del sys.modules[name]


def describe(scan: Scan) -> dict[str, Any]:
    """What `info` prints as JSON."""
    calibration = scan.calibration
    return {
        "file": str(scan.source),
        "format": scan.format,
        "kind": scan.kind,
        "shape": list(scan.shape),
        "dtype": str(scan.dtype),
        "bytes": scan.nbytes,
        "axes": [
            {
                "name": a.name,
                "size": a.size,
                "scale": a.scale,
                "offset": a.offset,
                "unit": a.unit,
            }
            for a in scan.axes
        ],
        "calibration": {
            "center": calibration.center,
            "pixel_size": calibration.pixel_size,
            "voltage_kv": calibration.voltage_kv,
        },
        "missing_frames": 0 if scan.missing is None else int(scan.missing.sum()),
        "warnings": list(scan.warnings),
    }


def _size(nbytes: int) -> str:
    size = float(nbytes)
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def warn(scan: Scan) -> None:
    """Say on stderr what was caught while opening."""
    for warning in scan.warnings:
        click.echo(f"warning: {on_the_command_line(warning)}", err=True)


@click.command()
@click.argument("file")
@scan_options
@json_option
def info(file: str, as_json: bool, **options: Any) -> None:
    """Format, kind, shape, dtype and axes of FILE."""
    from napari_diffmap.cli.terminal import finish

    import_dask_quickly()
    scan = open_from_options(file, options)
    axes = ", ".join(
        f"{a.name} {a.size} × {a.scale:.5g} {a.unit}" if a.calibrated else f"{a.name} {a.size}"
        for a in scan.axes
    )
    shape = " × ".join(map(str, scan.shape))
    warn(scan)
    finish(
        f"{Path(file).name}: {scan.format}, {scan.kind}, {shape} {scan.dtype}"
        f" ({_size(scan.nbytes)}); {axes}",
        describe(scan),
        as_json,
    )


@click.command()
@click.argument("file")
@click.option("--annulus", type=Numbers("CY,CX,R0,R1"), help="Annular detector.")
@click.option("--disk", type=Numbers("CY,CX,R"), help="Disk detector.")
@click.option(
    "--pixels", is_flag=True, help="The numbers are detector pixels (else the scan's k unit)."
)
@click.option(
    "--response",
    type=click.Choice(["sum", "mean", "com_y", "com_x", "dpc_y", "dpc_x"]),
    default="sum",
    show_default=True,
)
@click.option("--out", required=True, help="Image to write (.tif).")
@scan_options
@json_option
def virtual(
    file: str,
    annulus: tuple[float, float, float, float] | None,
    disk: tuple[float, float, float] | None,
    pixels: bool,
    response: Any,
    out: str,
    as_json: bool,
    **options: Any,
) -> None:
    """One virtual image of FILE."""
    import numpy as np

    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.maps.files.export import save_tiff
    from napari_diffmap.maps.provenance import InputFile, Provenance
    from napari_diffmap.scan.detectors import Annulus, Detector, virtual_images

    if (annulus is None) == (disk is None):
        raise BadInputError("give one detector: --annulus CY,CX,R0,R1 or --disk CY,CX,R")
    scan = open_from_options(file, options)
    warn(scan)
    scan.need_patterns("a virtual detector needs")
    shape = Annulus(*annulus) if annulus else Annulus(disk[0], disk[1], 0.0, disk[2])  # type: ignore[index]
    if not pixels:
        shape = _to_pixels(scan, shape)
    detector = Detector("virtual", shape, response)
    if not detector.mask((scan.shape[2], scan.shape[3])).any():
        raise BadInputError(
            f"the detector covers no pixel of the {scan.shape[2]} × {scan.shape[3]} pattern:"
            f" the numbers are in {'pixels' if pixels else scan.axes[-1].unit}"
        )
    (image,) = virtual_images(scan, [detector])
    record = Provenance.collect(
        inputs=[InputFile.from_path(file, format=scan.format, shape=scan.shape)],
        method="virtual detector",
        parameters={"detector": str(shape), "response": response},
    )
    step = scan.axes[0].canonical()
    save_tiff(
        image,
        out,
        step=(step.scale, scan.axes[1].canonical().scale),
        unit=step.unit,
        provenance=record,
    )
    finish(
        f"{Path(out).name}: {image.shape[0]} × {image.shape[1]}, {response} from"
        f" {np.nanmin(image):.6g} to {np.nanmax(image):.6g}",
        {
            "image": str(out),
            "shape": list(image.shape),
            "response": response,
            "minimum": float(np.nanmin(image)),
            "maximum": float(np.nanmax(image)),
            "missing": int(np.isnan(image).sum()),
        },
        as_json,
    )


def _to_pixels(scan: Scan, shape: Annulus) -> Annulus:
    """A detector given in the scan's k unit, in pixels."""
    from napari_diffmap.scan.detectors import Annulus

    ky, kx = scan.axes[-2:]
    if not (ky.calibrated and kx.calibrated):
        raise CalibrationError(
            f"{scan.name} has no calibrated k-axes: give the detector in pixels with --pixels"
        )
    if abs(ky.scale - kx.scale) > 0.02 * abs(kx.scale):
        raise CalibrationError(
            f"{scan.name}: k-axes differ ({ky.scale:.5g} and {kx.scale:.5g} {kx.unit} per pixel):"
            " give the detector in pixels with --pixels"
        )
    return Annulus(
        (shape.cy - ky.offset) / ky.scale,
        (shape.cx - kx.offset) / kx.scale,
        shape.r0 / abs(kx.scale),
        shape.r1 / abs(kx.scale),
    )
