"""The measured Fe 2p stack mapped with its authors' end members: figures and picture of the docs.

``python -m benchmarks.iron FOLDER --picture docs/images/phases-iron.png``, FOLDER holding
``71214078.hdr``, its frames, ``oxidized.t``, ``reduced.t`` and ``mask_file.msk``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from napari_diffmap.jobs.phases import PhasesRun, map_phases
from napari_diffmap.maps.spectral_doubt import SpectralDoubt
from napari_diffmap.methods.spectra.incident import read_mask
from napari_diffmap.methods.spectra.references import parse_references
from napari_diffmap.scan.open import open_scan


def mapped(folder: Path) -> tuple[PhasesRun, np.ndarray]:
    scan = open_scan(folder / "71214078.hdr")
    references = parse_references([f"{n}={folder / n}.t" for n in ("oxidized", "reduced")])
    mask = read_mask(folder / "mask_file.msk", scan.shape[1:])
    return map_phases(scan, references, masked=mask), mask


def lines(run: PhasesRun, mask: np.ndarray) -> list[str]:
    found = run.map
    said = []
    for name, where in (("outside the mask", ~mask), ("under the mask", mask)):
        inside = found.indexed & where
        codes = found.ambiguity[inside]
        shares = ", ".join(
            f"{p.name} {100 * found.phase_mask(i)[inside].mean():.0f} %"
            for i, p in enumerate(found.phases)
        )
        sure = found.ambiguity == SpectralDoubt.NONE
        trusted = ", ".join(
            f"{p.name} {int((found.phase_mask(i) & inside & sure).sum())}"
            for i, p in enumerate(found.phases)
        )
        causes = ", ".join(
            f"{c.name} {100 * float((codes == c.code).mean()):.0f} %"
            for c in found.causes
            if (codes == c.code).any()
        )
        said.append(f"{name}: {int(inside.sum())} pixels: {shares}; {causes}; sure: {trusted}")
    rows = [f"{r.name} {100 * r.agreement:.0f} %" for r in run.table]
    said.append("agreement: " + ", ".join(rows))
    said.append(f"expected wrong: {100 * run.summary['false_assignment_rate']:.1f} %")
    return said


def picture(run: PhasesRun, path: Path) -> None:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure

    found = run.map
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    axes = figure.subplots(1, 3)
    step = found.step[0] / 1000
    extent = (0, found.shape[1] * step, found.shape[0] * step, 0)
    colors = [p.color for p in found.phases]
    phases = np.ma.masked_less(found.best_phase_ids, 0)
    axes[0].imshow(phases, cmap=ListedColormap(colors), vmin=0, vmax=1, extent=extent)
    axes[0].set_title("phase")
    for phase in found.phases:
        axes[0].plot([], [], "s", color=phase.color, label=phase.name)
    table = ListedColormap([c.color for c in found.causes])
    axes[1].imshow(found.ambiguity, cmap=table, vmin=0, vmax=6, extent=extent)
    axes[1].set_title("doubt")
    for cause in found.causes:
        axes[1].plot([], [], "s", color=cause.color, label=cause.name)
    for one in axes[:2]:
        one.set_xlabel("µm")
        one.legend(fontsize=7, loc="lower left", framealpha=0.85)
    energies = run.spectra["energy"]
    for phase in found.phases:
        mean = run.spectra[phase.name]
        size = np.ptp(mean)
        axes[2].plot(energies, (mean - mean.min()) / size, color=phase.color, label=phase.name)
        known = np.interp(energies, phase.energies, phase.values)
        known = (known - known.min()) / np.ptp(known)
        axes[2].plot(energies, known, ":", color=phase.color, label=f"reference {phase.name}")
    axes[2].set_xlabel("energy (eV)")
    axes[2].set_title("mean spectra where nothing is doubted")
    axes[2].legend(fontsize=7)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--picture", type=Path)
    given = parser.parse_args()
    run, mask = mapped(given.folder)
    print("\n".join(lines(run, mask)))
    if given.picture is not None:
        picture(run, given.picture)


if __name__ == "__main__":
    main()
