"""Sub-grid refinement of candidates, and the score they are ranked by.

The score of an orientation is the normalised correlation of its predicted spots
(heights h_g exp(−s_g²/2σ²), drawn as Gaussians of width δ) with the measured
spots.  Predicted spots that are missing lower it through the template's norm,
measured spots left unexplained through the pattern's norm.  It is differentiable
in a small turn ω of the crystal (k → k + ω × k); candidates climb it by damped
Gauss–Newton steps while δ narrows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from napari_diffmap.crystal.simulate import excitation_errors
from napari_diffmap.methods.orientation.spotmap import SpotMap

#: Most reflections followed per candidate.
FOLLOWED = 96
_LARGEST_TURN = 0.03  # radians a step


@dataclass(frozen=True)
class Optics:
    """What all phases share: wavelength (Å) and the limits of the pattern (1/Å)."""

    wavelength: float
    q_min: float
    q_max: float


@dataclass(frozen=True, eq=False)
class Model:
    """What a candidate's spots are predicted from.

    Attributes
    ----------
    g, height, sigma
        ``(n, 3)`` reflections (crystal Cartesian, 1/Å), ``(n,)`` heights and
        ``(n,)`` excitation widths (1/Å).
    optics
        Wavelength and limits.
    """

    g: Tensor
    height: Tensor
    sigma: Tensor
    optics: Optics


@dataclass(eq=False)
class Candidates:
    """Orientations under refinement, ``(b, k)`` of them.

    Attributes
    ----------
    matrices
        ``(b, k, 3, 3)`` crystal → laboratory (Oᵀ).
    phase
        ``(b, k)`` which phase each is of.
    g, height, sigma, number
        ``(b, k, s, 3)`` and ``(b, k, s)``: the reflections followed, and which they are;
        a height of 0 fills up.
    score
        ``(b, k)`` at the present kernel width; log odds once they are weighed.
    source
        ``(b, k)`` which list of reflections the likelihood looks at: two for each zone of
        each phase in turn, of the zone and of its mirror copy.
    """

    matrices: Tensor
    phase: Tensor
    g: Tensor
    height: Tensor
    sigma: Tensor
    number: Tensor
    score: Tensor
    source: Tensor

    @staticmethod
    def pooled(pools: Sequence[Candidates]) -> Candidates:
        """Candidates of several phases side by side."""
        width = max(pool.height.shape[2] for pool in pools)

        def padded(values: Tensor) -> Tensor:
            short = width - values.shape[2]
            pad = (0, 0, 0, short) if values.dim() == 4 else (0, short)
            return torch.nn.functional.pad(
                values, pad, value=1.0 if values.is_floating_point() else 0
            )

        wide = ("g", "sigma", "number")
        columns = {}
        for field in fields(Candidates):
            parts = [getattr(pool, field.name) for pool in pools]
            if field.name in wide:
                parts = [padded(part) for part in parts]
            elif field.name == "height":
                parts = [
                    torch.nn.functional.pad(part, (0, width - part.shape[2])) for part in parts
                ]
            columns[field.name] = torch.cat(parts, dim=1)
        return Candidates(**columns)

    def take(self, index: Tensor) -> Candidates:
        """Some of each pattern's candidates, ``(b, k')`` indices."""

        def pick(values: Tensor) -> Tensor:
            wanted = index.reshape(*index.shape, *([1] * (values.dim() - 2)))
            return values.gather(1, wanted.expand(*index.shape, *values.shape[2:]))

        return Candidates(*(pick(getattr(self, field.name)) for field in fields(self)))

    def of(self, rows: Tensor) -> Candidates:
        """Those of some of the patterns."""
        return Candidates(*(getattr(self, field.name)[rows] for field in fields(self)))

    def moved(self, matrices: Tensor, score: Tensor) -> Candidates:
        """The same reflections at other orientations."""
        return replace(self, matrices=matrices, score=score)


def follow(model: Model, matrices: Tensor, number: Tensor, phase: int = 0) -> Candidates:
    """Candidates that follow the reflections `number` ``(b, k, s)``; see `visible`."""
    score = torch.zeros(matrices.shape[:2], device=matrices.device)
    return Candidates(
        matrices,
        torch.full_like(score, phase, dtype=torch.long),
        model.g[number],
        model.height[number],
        model.sigma[number],
        number,
        score,
        torch.zeros_like(score, dtype=torch.long),
    )


def visible(model: Model, matrices: Tensor, slack: float, most: int = FOLLOWED) -> Tensor:
    """Reflections that can be seen within `slack` radians of orientations.

    Parameters
    ----------
    model
        Of one phase.
    matrices
        ``(n, 3, 3)`` crystal → laboratory.
    slack
        How far the orientation may still travel, radians.
    most
        Strongest ones kept.

    Returns
    -------
    Tensor
        ``(n, s)`` numbers of reflections.
    """
    optics = model.optics
    k = torch.matmul(model.g, matrices.transpose(1, 2))  # (n, m, 3)
    s = excitation_errors(k, optics.wavelength)
    q2 = (k[..., :2] ** 2).sum(-1)
    variance = model.sigma**2 + slack**2 * (model.g**2).sum(-1)
    weight = model.height * torch.exp(-0.5 * s**2 / variance)
    inner = max(0.0, optics.q_min * (1 - slack))
    near = (q2 >= inner**2) & (q2 <= (optics.q_max * (1 + slack)) ** 2)
    weight = torch.where(near, weight, -1.0)
    return torch.topk(weight, min(most, weight.shape[1]), dim=1).indices


@dataclass(frozen=True, eq=False)
class Fit:
    """One evaluation of candidates against measured spots (all ``(b, k, s)``).

    Attributes
    ----------
    k
        ``(b, k, s, 3)`` laboratory vectors.
    s, sigma
        Excitation errors and their width, 1/Å.
    template
        Predicted heights.
    matched
        Height of the nearest measured spot times the kernel.
    gap_x, gap_y
        Measured minus predicted place; large where none is near.
    number
        Which measured spot is nearest; the spare one where none is.
    score
        ``(b, k)``.
    """

    k: Tensor
    s: Tensor
    sigma: Tensor
    template: Tensor
    matched: Tensor
    gap_x: Tensor
    gap_y: Tensor
    number: Tensor
    score: Tensor


def evaluate(optics: Optics, candidates: Candidates, spots: SpotMap, delta: float) -> Fit:
    """Compare candidates with the measured spots at kernel width `delta` (1/Å)."""
    k = torch.matmul(candidates.g, candidates.matrices.transpose(-1, -2))
    kx, ky, kz = k.unbind(-1)
    q2 = kx * kx + ky * ky
    k0 = 1.0 / optics.wavelength
    s = -(2 * k0 * kz + q2 + kz * kz) / (2 * (k0 + kz))  # `simulate.excitation_errors`
    template = candidates.height * torch.exp(-0.5 * (s / candidates.sigma) ** 2)
    template = template * ((q2 >= optics.q_min**2) & (q2 <= optics.q_max**2))
    number, px, py, amplitude = spots.lookup(kx, ky)
    gap_x, gap_y = px - kx, py - ky
    matched = amplitude * torch.exp((gap_x * gap_x + gap_y * gap_y) * (-0.5 / delta**2))
    cross = (template * matched).sum(-1)
    norm2 = (template * template).sum(-1) * spots.norm2[:, None]
    score = cross / torch.sqrt(norm2).clamp_min(1e-9)
    return Fit(k, s, candidates.sigma, template, matched, gap_x, gap_y, number, score)


def gradient(optics: Optics, fit: Fit, delta: float) -> tuple[Tensor, Tensor]:
    """Slope of log(score) in a turn ω, and a positive curvature.

    Returns
    -------
    slope : Tensor (b, k, 3)
    curvature : Tensor (b, k, 3, 3)

    Notes
    -----
    With k → k + ω × k, ∂k_x/∂ω = (0, k_z, −k_y), ∂k_y/∂ω = (−k_z, 0, k_x), and
    ∂s/∂ω follows ∂s/∂k_z times ∂k_z/∂ω = (k_y, −k_x, 0), as |k| is kept.  All
    sums over spots are moments of k; the curvature is that of a Gauss–Newton
    fit of unit-norm templates.
    """
    share = fit.template * fit.matched
    share = share / share.sum(-1, keepdim=True).clamp_min(1e-12)
    own = fit.template**2
    own = own / own.sum(-1, keepdim=True).clamp_min(1e-12)
    k0 = 1.0 / optics.wavelength
    # s = −(2 k₀ k_z + k²) / (2 (k₀ + k_z)): its slope in k_z at constant |k|, and
    # that of log(template).
    slope_z = -(k0 + fit.s) / (k0 + fit.k[..., 2])
    bend = -fit.s * slope_z / fit.sigma**2
    weight = share / delta**2
    rows = torch.stack(
        (weight * fit.gap_x, weight * fit.gap_y, (share - own) * bend, own * bend), dim=-2
    )
    x, y, tilt, mean = torch.matmul(rows, fit.k).unbind(-2)  # first moments, (b, k, 3) each
    slope = torch.stack(
        (
            tilt[..., 1] - y[..., 2],
            x[..., 2] - tilt[..., 0],
            y[..., 0] - x[..., 1],
        ),
        dim=-1,
    )
    place = torch.matmul(fit.k.transpose(-1, -2) * weight[..., None, :], fit.k)
    bent = torch.matmul(fit.k.transpose(-1, -2) * (own * bend**2)[..., None, :], fit.k)
    mx, my = mean[..., 1], -mean[..., 0]
    xx = place[..., 2, 2] + bent[..., 1, 1] - mx * mx
    yy = place[..., 2, 2] + bent[..., 0, 0] - my * my
    zz = place[..., 0, 0] + place[..., 1, 1]
    xy = -bent[..., 0, 1] - mx * my
    xz, yz = -place[..., 0, 2], -place[..., 1, 2]
    curvature = torch.stack((xx, xy, xz, xy, yy, yz, xz, yz, zz), dim=-1)
    return slope, curvature.reshape(*slope.shape, 3)


def climb(
    optics: Optics, candidates: Candidates, spots: SpotMap, delta: float, steps: int
) -> Candidates:
    """A few damped Gauss–Newton steps at one kernel width; never to a lower score."""
    fit = evaluate(optics, candidates, spots, delta)
    score = fit.score
    slope, curvature = gradient(optics, fit, delta)
    damping = torch.full_like(score, 0.1)
    eye = torch.eye(3, device=damping.device)
    matrices = candidates.matrices
    for step in range(steps):
        scale = curvature.diagonal(dim1=-2, dim2=-1).mean(-1).clamp_min(1e-6)
        system = curvature + (damping * scale)[..., None, None] * eye
        turn = solve3(system, slope)
        length = torch.linalg.vector_norm(turn, dim=-1, keepdim=True)
        turn = turn * (_LARGEST_TURN / length.clamp_min(1e-12)).clamp_max(1.0)
        tried = candidates.moved(turned(matrices, turn), score)
        fit = evaluate(optics, tried, spots, delta)
        better = fit.score > score
        matrices = torch.where(better[..., None, None], tried.matrices, matrices)
        if step < steps - 1:
            damping = torch.where(better, damping * 0.4, damping * 6.0)
            new_slope, new_curvature = gradient(optics, fit, delta)
            slope = torch.where(better[..., None], new_slope, slope)
            curvature = torch.where(better[..., None, None], new_curvature, curvature)
        score = torch.where(better, fit.score, score)
    return candidates.moved(matrices, score)


def turned(matrices: Tensor, turn: Tensor) -> Tensor:
    """Matrices turned in the laboratory by the rotation vectors `turn` (radians)."""
    angle = torch.linalg.vector_norm(turn, dim=-1)[..., None, None]
    x, y, z = turn.unbind(-1)
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), dim=-1)
    cross = cross.reshape(*turn.shape[:-1], 3, 3)
    first = torch.sinc(angle / torch.pi)
    second = 0.5 * torch.sinc(angle / (2 * torch.pi)) ** 2
    rotation = torch.eye(3, device=turn.device) + first * cross + second * (cross @ cross)
    return rotation @ matrices


def solve3(system: Tensor, right: Tensor) -> Tensor:
    """Solve symmetric 3 × 3 systems by the adjugate; far faster than LAPACK in batches."""
    a, b, c = system[..., 0, 0], system[..., 0, 1], system[..., 0, 2]
    d, e, f = system[..., 1, 1], system[..., 1, 2], system[..., 2, 2]
    c00, c01, c02 = d * f - e * e, c * e - b * f, b * e - c * d
    c11, c12, c22 = a * f - c * c, b * c - a * e, a * d - b * b
    determinant = a * c00 + b * c01 + c * c02
    x, y, z = right.unbind(-1)
    rows = (c00 * x + c01 * y + c02 * z, c01 * x + c11 * y + c12 * z, c02 * x + c12 * y + c22 * z)
    return torch.stack(rows, dim=-1) / torch.where(
        determinant.abs() > 1e-20, determinant, 1e-20
    ).unsqueeze(-1)
