"""Coarse search: every zone axis, mirrored or not, at every in-plane angle.

The correlation over the angle is a product of Fourier terms (Ophus et al.,
*Microsc. Microanal.* 28 (2022) 390).  A mirrored template has the complex
conjugate spectrum, so both copies come from the same four real products.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from napari_diffmap.methods.orientation.library import TemplateLibrary, parts, template_spectra
from napari_diffmap.methods.orientation.polar import PolarGrid


@dataclass(frozen=True, eq=False)
class Peaks2D:
    """Best in-plane angle of every template of one phase for a batch.

    Attributes
    ----------
    score
        ``(b, n, 2)`` normalised correlation; the last axis is plain, mirrored.
    angle
        ``(b, n, 2)`` in-plane angle index.
    """

    score: Tensor
    angle: Tensor


def correlate(
    spectra: Tensor,
    norm: Tensor,
    library: TemplateLibrary,
    grid: PolarGrid,
    width: float,
    *,
    cached: list[Tensor] | None = None,
    chunk: int = 512,
) -> Peaks2D:
    """Correlate a batch of patterns with all templates of one phase.

    Parameters
    ----------
    spectra
        ``(b, rings, frequencies)`` complex64 measured spectra.
    norm
        ``(b,)`` norms of the measured patterns.
    library, grid, width
        See `template_spectra`.
    cached
        Ready template spectra in chunks of `chunk`; made on the fly when None.
    chunk
        Templates at a time.
    """
    measured = spectra.permute(2, 0, 1)
    stacked = torch.cat((measured.real, measured.imag), dim=1).contiguous()
    b = spectra.shape[0]
    scores, angles = [], []
    for i, part in enumerate(parts(library, chunk)):
        templates = (
            cached[i] if cached is not None else template_spectra(library, part, grid, width)
        )
        n = templates.shape[2] // 2
        product = torch.bmm(stacked, templates)  # (f, 2b, 2n)
        rr, ri = product[:, :b, :n], product[:, :b, n:]
        ir, ii = product[:, b:, :n], product[:, b:, n:]
        both = torch.empty((b, n, 2, grid.frequencies, 2), device=spectra.device)
        # Plain: X conj(T); mirrored: X T.
        torch.add(rr, ii, out=both[:, :, 0, :, 0].permute(2, 0, 1))
        torch.sub(ir, ri, out=both[:, :, 0, :, 1].permute(2, 0, 1))
        torch.sub(rr, ii, out=both[:, :, 1, :, 0].permute(2, 0, 1))
        torch.add(ir, ri, out=both[:, :, 1, :, 1].permute(2, 0, 1))
        waves = torch.view_as_complex(both)
        best = torch.fft.irfft(waves, n=grid.angles, dim=-1).max(dim=-1)
        scores.append(best.values)
        angles.append(best.indices)
    score = torch.cat(scores, dim=1) * (grid.angles / norm.clamp_min(1e-12))[:, None, None]
    return Peaks2D(score, torch.cat(angles, dim=1))
