"""``demo``: the whole way once on the bundled scan, whose truth is known."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from napari_diffmap.cli.options import json_option
from napari_diffmap.cli.orient import one_line
from napari_diffmap.cli.terminal import NewFolder, ProgressLine, StopOnInterrupt
from napari_diffmap.jobs.control import JobControl

if TYPE_CHECKING:
    from napari_diffmap.jobs.demo import DemoOutcome

_XVFB = ("xvfb-run", "-a", "-s", "-screen 0 1600x1000x24 +extension GLX")


@click.command()
@click.option("--headless", is_flag=True, help="Open no window even where there is a display.")
@click.option("--out", default="napari-diffmap-demo", show_default=True, help="Folder to write to.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@json_option
@click.pass_obj
def demo(obj: dict[str, Any], headless: bool, out: str, device: str, as_json: bool) -> None:
    """Map the bundled LiNiO2 scan with templates and with a network, and show it.

    Opens the scan, makes a virtual image, maps orientations and phases, draws
    the overlays, puts both maps side by side and compares with the known truth.
    """
    from napari_diffmap.cli.terminal import finish
    from napari_diffmap.jobs.comparison import PICTURE
    from napari_diffmap.jobs.demo import run_demo

    control = JobControl()
    with NewFolder(out) as folder, StopOnInterrupt(control):
        outcome = run_demo(folder, device=device, control=control, on_progress=ProgressLine())
    if outcome.error is not None:
        if as_json:
            finish("", outcome.summary, as_json)
        raise outcome.error
    truth, network = outcome.summary["truth"], outcome.summary["network"]["truth"]
    line = (
        f"{one_line(outcome.summary, folder)}; against truth"
        f" {100 * truth['within_3_deg']:.1f} % of the single-crystal positions within 3°,"
        f" median {truth['median_deg']:.2f}° (network {100 * network['within_3_deg']:.1f} %,"
        f" {network['median_deg']:.2f}°); side by side in {PICTURE}"
    )
    if headless or not _display():
        line += _picture_of_the_window(outcome, folder)
        finish(line, outcome.summary, as_json)
        return
    finish(line, outcome.summary, as_json)
    obj["open_window"]([str(outcome.scan_file)], results=str(folder), beside=str(outcome.beside))


def _display() -> bool:
    if sys.platform.startswith("linux"):
        return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    return True


def _picture_of_the_window(outcome: DemoOutcome, folder: Path) -> str:
    """Draw the window on a virtual display; says what is missing when it cannot."""
    if not _display() and shutil.which(_XVFB[0]) is None:
        return "; no picture of the window: install the package xvfb"
    picture = folder / "window.png"
    command = [
        *(() if _display() else _XVFB),
        *(sys.executable, "-m", "napari_diffmap", "open", str(outcome.scan_file)),
        *("--results", str(folder), "--beside", str(outcome.beside)),
        *("--screenshot", str(picture)),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode or not picture.exists():
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        return f"; no picture of the window ({reason})"
    return f"; window in {picture.name}"
