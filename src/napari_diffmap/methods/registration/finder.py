"""The adaptive finder: one knob, the false spots per pattern; sub-pixel, batched in torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import Tensor

from napari_diffmap.methods.registration.background import (
    RING,
    at_radius,
    background_image,
    radial_background,
    radii,
)
from napari_diffmap.methods.registration.fit import NoiseModel, fit_spots, windows
from napari_diffmap.methods.registration.significance import (
    resolution_elements,
    threshold_for,
)
from napari_diffmap.methods.registration.spots import Detected, Detector, SpotFinder

#: Directions in which a spot's prominence is looked for.
_DIRECTIONS = 16

#: Below so many expected counts under a spot the tail of Poisson's law is judged as well.
_FEW_COUNTS = 20.0

#: Disks that a place is in count as so many independent ones (measured on counts of
#: 0.01 to 2 a pixel).
_OVERLAP = 0.2

#: A quarter of normal noise is nearer to its mean than so many of its widths.
_QUARTER = 0.3186

#: A ring is believed to be so many times noisier than the background makes it.
_MOST_EXCESS = 1.5


@dataclass(frozen=True, eq=False)
class FoundSpots:
    """Spots of a batch, one row each, pattern by pattern, most significant first.

    Attributes
    ----------
    which
        ``(n,)`` int64: pattern of the batch.
    ky, kx
        ``(n,)`` float32: place on the detector, pixels.
    intensity
        Volume above the local background.
    prominence
        Height above the highest saddle around.
    width
        Gaussian sigma, pixels.
    snr
        How many times the noise the spot stands out.
    noise
        ``(b,)`` noise of each pattern's background, per pixel.
    """

    which: Tensor
    ky: Tensor
    kx: Tensor
    intensity: Tensor
    prominence: Tensor
    width: Tensor
    snr: Tensor
    noise: Tensor

    def __len__(self) -> int:
        return len(self.which)

    def cpu(self) -> FoundSpots:
        """The same in the memory of the processor."""
        return FoundSpots(*(getattr(self, field.name).cpu() for field in fields(self)))


class PeakFinder(SpotFinder):
    """Finds and measures spots with a false-alarm rate that the user chooses.

    Parameters
    ----------
    detector
        Geometry in pixels (``pixel_size`` 1); its threshold is set here.
    false_spots
        Spots per pattern that noise alone may give.
    most
        Spots kept of a pattern.
    noise
        How the noise grows with the signal.
    device
        Torch device.
    excess
        How many times the noise that the model predicts the response shows; see
        `measure_excess`.
    """

    def __init__(
        self,
        detector: Detector,
        false_spots: float,
        most: int,
        noise: NoiseModel,
        device: torch.device | str = "cpu",
        excess: float = 1.0,
    ) -> None:
        super().__init__(detector, device)
        self.most = most
        self.noise = noise
        self.excess = excess
        kernel = self.kernel
        self._area = searched_area(detector)
        elements = resolution_elements(kernel, self._area)
        self.detector = replace(detector, threshold=threshold_for(false_spots, elements))
        self._rarest = false_spots / self._area
        self._power = float(np.sqrt((kernel**2).sum()))
        self._rays = _rays(detector.spot_sigma, self.device)
        self._full_height = self._height_of_one()

    @property
    def threshold(self) -> float:
        """How many times the noise a spot must stand out."""
        return self.detector.threshold

    def measure(self, images: Tensor, centers: Tensor) -> FoundSpots:
        """Spots of a batch of raw patterns.

        Parameters
        ----------
        images
            ``(b, ky, kx)``.
        centers
            ``(b, 2)`` direct beam (ky, kx), pixels.
        """
        images = self.clean(images)
        profile, response, noise = self._lifted(images, centers)
        noise = self._believed(noise, profile)
        # The kernel has no sum and the background is gone: nothing is left to subtract.
        found = self._candidates(images, centers, response, torch.zeros_like(noise), noise)
        down, across = (found.row - centers[found.which, 0], found.column - centers[found.which, 1])
        radius = torch.hypot(down, across)
        level, slope = at_radius(profile, found.which, radius)
        keep = self._enough_counts(images, found, level)
        keep &= self._first_places(found, keep, len(images))
        which, y, x = found.which[keep], found.row[keep], found.column[keep]
        slope = (slope / radius.clamp_min(1.0))[keep] * float(self.detector.subtract_background)
        fitted = fit_spots(
            images,
            which,
            y,
            x,
            self.detector.spot_sigma,
            self.noise,
            (slope * down[keep], slope * across[keep]),
        )
        return FoundSpots(
            which=which,
            ky=fitted.y,
            kx=fitted.x,
            intensity=fitted.intensity,
            prominence=self._prominence(found.response, which, y, x),
            width=fitted.sigma,
            snr=found.significance[keep],
            noise=noise[:, : self._inside(centers)].median(dim=1).values / self._power,
        )

    def measure_excess(self, images: Tensor, centers: Tensor) -> float:
        """How many times the predicted noise the response of some patterns shows.

        More than once where neighbouring pixels share their noise, as behind a
        scintillator.  Spots may fill a third of a pattern: so the smallest quarter
        of the responses is compared with that of normal noise.
        """
        images = self.clean(images)
        profile, response, noise = self._lifted(images, centers)
        predicted = self._predicted(profile)
        if self.noise.counting and float(profile.median()) < 1.0:
            return 1.0
        rings = slice(min(4, self._inside(centers) // 2), self._inside(centers))
        by_ring = float((noise[:, rings] / predicted[:, rings]).median())
        step = max(1, int(np.sqrt(images.shape[1] * images.shape[2] / 6000)))
        shape = (images.shape[1], images.shape[2])
        ring = (radii(shape, centers) / RING).long()[:, ::step, ::step].reshape(len(images), -1)
        ring = ring.clamp_max(predicted.shape[1] - 1)
        score = response[:, ::step, ::step].reshape(len(images), -1) / predicted.gather(1, ring)
        by_pixel = float(np.quantile(score.abs().cpu().numpy(), 0.25)) / _QUARTER
        ratio = min(by_ring, by_pixel)
        if self.noise.counting:
            return float(np.clip(ratio, 1.0, _MOST_EXCESS))
        return float(np.clip(ratio, 0.5, 20.0))

    def _lifted(self, images: Tensor, centers: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Radial background, response without it, and the response's noise in each ring."""
        profile = radial_background(images, centers, self.noise, self.detector.q_min)
        flat = images
        if self.detector.subtract_background:
            flat = images - background_image(profile, images.shape, centers)
        response = self.response(flat)
        _, noise = self._ring_statistics(images, response, centers)
        return profile, response, noise

    def _predicted(self, profile: Tensor) -> Tensor:
        """Noise of the response that the background's own noise makes, ``(b, rings)``."""
        quantum, floor = self.noise.gain, self.noise.readout**2
        # A ring that counted nothing expects a count in some hundred pixels.
        variance = quantum * profile.clamp_min(0.003 * quantum) + floor
        return torch.sqrt(variance + 1e-12) * self._power

    def _believed(self, measured: Tensor, profile: Tensor) -> Tensor:
        """Noise of each ring: as measured, within what the background can make.

        The rings of a crystal looked at along a zone axis hold so many spots that
        their spread is no noise; a halo or a band is more than counting noise.
        """
        predicted = self.excess * self._predicted(profile)
        return torch.maximum(torch.minimum(measured, _MOST_EXCESS * predicted), predicted)

    def _inside(self, centers: Tensor) -> int:
        """Rings that lie on the detector."""
        height, width = self.detector.shape
        cy, cx = (float(c) for c in centers.mean(dim=0))
        reach = max(min(cy, height - 1 - cy), min(cx, width - 1 - cx), 8.0)
        return max(4, int(reach / RING))

    def _enough_counts(self, images: Tensor, found: Detected, level: Tensor) -> Tensor:
        """Whether the counts under a spot are more than chance gathers there.

        Where nearly every pixel is empty the response of two chance electrons is
        no sum of many: Poisson's law for the counts in the spot's disk decides.
        """
        quantum = self.detector.quantum
        if quantum <= 0 or not len(found.which):
            return torch.ones(len(found.which), dtype=torch.bool, device=images.device)
        reach = int(1.5 * self.detector.spot_sigma + 0.5)
        step = torch.arange(-reach, reach + 1, device=images.device)
        disk = (step[:, None] ** 2 + step[None, :] ** 2) <= (reach + 0.5) ** 2
        inside = windows(images, found.which, found.row, found.column, reach)[:, disk]
        counts = inside.sum(dim=1).clamp_min(0) / quantum
        expected = (level.clamp_min(0) * int(disk.sum()) / quantum).clamp_min(1e-3)
        chance = torch.special.gammainc(counts.clamp_min(1e-6), expected)
        rarest = self._rarest * float(disk.sum()) / _OVERLAP
        enough: Tensor = (expected > _FEW_COUNTS) | (chance <= rarest)
        return enough

    def _first_places(self, found: Detected, keep: Tensor, n: int) -> Tensor:
        """Mask of the `most` most significant spots of every pattern."""
        count = torch.bincount(found.which[keep], minlength=n)
        if not len(found.which) or int(count.max()) <= self.most:
            return keep
        score = torch.where(keep, found.significance, 0.0)
        order = torch.argsort(score, descending=True, stable=True)
        order = order[torch.argsort(found.which[order], stable=True)]
        which = found.which[order]
        every = torch.bincount(which, minlength=n)
        place = torch.arange(len(which), device=which.device) - (every.cumsum(0) - every)[which]
        mask = torch.zeros_like(keep)
        mask[order] = place < self.most
        return mask

    def _prominence(self, response: Tensor, which: Tensor, y: Tensor, x: Tensor) -> Tensor:
        """Height above the highest saddle on the rays around a spot, in values of the pattern."""
        if not len(which):
            return torch.zeros(0, device=response.device)
        height, width = response.shape[1:]
        rows = (y[:, None, None] + self._rays[0]).clamp(0, height - 1)
        columns = (x[:, None, None] + self._rays[1]).clamp(0, width - 1)
        along = response[which[:, None, None], rows, columns]
        saddle = along.amin(dim=2).amax(dim=1)
        above: Tensor = (response[which, y, x] - saddle) / self._full_height
        return above

    def _height_of_one(self) -> float:
        """Prominence that the response gives a lone spot of height one."""
        reach = int(np.ceil(9 * self.detector.spot_sigma)) + 2
        step = torch.arange(-reach, reach + 1, device=self.device)
        line = torch.exp(-0.5 * (step / self.detector.spot_sigma) ** 2)
        response = self.response((line[:, None] * line[None, :])[None])
        self._full_height = 1.0
        middle = torch.tensor([reach], device=self.device)
        return float(self._prominence(response, middle * 0, middle, middle)[0])


def searched_area(detector: Detector) -> float:
    """Pixels of a detector in which spots are sought."""
    height, width = detector.shape
    inner = detector.q_min / detector.pixel_size
    outer = detector.q_max / detector.pixel_size
    whole = (height - 2) * (width - 2)
    return float(max(16.0, min(whole, np.pi * outer**2) - np.pi * inner**2))


def _rays(sigma: float, device: torch.device) -> Tensor:
    """Row and column steps of the rays, ``(2, directions, length)`` int64."""
    angle = 2 * np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
    reach = np.arange(1, int(np.ceil(3.2 * sigma)) + 1)
    steps = np.stack((np.outer(np.sin(angle), reach), np.outer(np.cos(angle), reach)))
    return torch.as_tensor(np.rint(steps).astype(np.int64), device=device)
