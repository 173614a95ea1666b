"""A trained network for defects, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.errors import BadInputError, ModelError
from napari_diffmap.methods.defects.lattice import Lattice
from napari_diffmap.methods.defects.network.blending import OVERLAP, TILE, blended
from napari_diffmap.methods.defects.network.calibrated import Peaks, peaks
from napari_diffmap.methods.defects.network.inputs import SPACING, resampled, seen, standardised
from napari_diffmap.methods.defects.network.recipe import UNET
from napari_diffmap.methods.defects.network.residual import pristine_fit
from napari_diffmap.methods.defects.network.unet import OUTPUTS, Ensemble
from napari_diffmap.models.card import ModelCard


@dataclass(frozen=True, eq=False)
class Look:
    """What a network says of an image.

    Attributes
    ----------
    finds
        Places in pixels of the image.
    probability, spread
        ``(2, y, x)`` float32 with the network's own pixels: lacking and excess intensity.
    zoom
        Those pixels along a pixel of the image; pixel centres at 0 are at 0.
    """

    finds: Peaks
    probability: NDArray[np.float32]
    spread: NDArray[np.float32]
    zoom: float

    def map_of(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """``shape`` float32: the larger probability at each pixel of the image."""
        from scipy import ndimage

        most = self.probability.max(axis=0)
        step = np.full(2, self.zoom)
        return np.asarray(
            ndimage.affine_transform(most, step, output_shape=shape, order=1, mode="nearest"),
            dtype=np.float32,
        )


class DefectNetwork:
    """An ensemble that says of each pixel whether a defect is there.

    Parameters
    ----------
    card, state
        Of the model; made by `DefectNetwork.load`, or by a training.
    device
        ``cpu``, ``cuda`` or ``mps``.

    Attributes
    ----------
    spacing
        Pixels per lattice constant that images must have, see `inputs.resampled`.

    Raises
    ------
    ModelError
        If weights and card do not belong together.
    """

    def __init__(
        self, card: ModelCard, state: Mapping[str, Tensor], device: str | torch.device = "cpu"
    ) -> None:
        self.card, self.device = card, torch.device(device)
        self.spacing = float(card.calibration.get("spacing", SPACING))
        if card.network.family != UNET:
            raise ModelError(f"{card.name} is no network for defects: take another model")
        try:
            options = {k: int(v) for k, v in card.network.options.items()}  # type: ignore[arg-type]
            self.network = Ensemble(**options)
            self.network.load_state_dict({k: v.float() for k, v in state.items()})
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"{card.name}: its weights are not those of its card: get the file anew"
            ) from error
        self.network.to(self.device).eval()

    @staticmethod
    def load(name: str | Path, device: str | torch.device = "cpu") -> DefectNetwork:
        """The model of a name (or file), see `models.registry.find`.

        Raises
        ------
        ModelError
            If there is none, it answers something else, or it is damaged.
        """
        from napari_diffmap.models.registry import find
        from napari_diffmap.models.weights import read_model

        return DefectNetwork(*read_model(find(name, "defects").path), device)

    def predict(
        self,
        image_std: NDArray[np.floating],
        residual: NDArray[np.floating] | None = None,
        sites: NDArray[np.floating] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the members say of each pixel.

        Parameters
        ----------
        image_std
            ``(Y, X)`` with `spacing` pixels per lattice constant, see `inputs.standardised`.
        residual
            ``(Y, X)`` in sigma, see `residual.pristine_fit`; not finite, or None, where there
            is no lattice.
        sites
            ``(Y, X)``: where its sites are, see `residual.PristineFit`; without them faint columns
            are told worse.

        Returns
        -------
        probability, spread
            ``(2, Y, X)`` float32 each: mean and standard deviation of the members that there is too
            little [0], too much [1] intensity.
        """
        if image_std.ndim != 2:
            raise BadInputError(f"one image (y, x) is looked at, not {image_std.ndim} axes")
        said = blended(self._members, seen(image_std, residual, sites), TILE, OVERLAP)
        apart = said.reshape(len(self.network), OUTPUTS, *image_std.shape)
        return apart.mean(axis=0), apart.std(axis=0)

    def finds(
        self,
        probability: NDArray[np.float32],
        spread: NDArray[np.float32] | None = None,
        lowest: float = 0.02,
    ) -> Peaks:
        """Defects in what `predict` said, with calibrated probabilities.

        Parameters
        ----------
        probability, spread
            ``(2, Y, X)``.
        lowest
            Least probability of what is given.
        """
        return peaks(probability, spread, self.spacing, self.card.calibration, lowest)

    def look(
        self,
        image: NDArray[np.floating],
        lattice: Lattice | None,
        spacing: float | None = None,
        lowest: float = 0.02,
    ) -> Look:
        """Everything from an image as it is to its finds.

        Parameters
        ----------
        image
            ``(Y, X)`` in any units, bright atoms; not finite where nothing is known.
        lattice
            Of the image; None where there is none.
        spacing
            Lattice constant in pixels where there is no lattice.
        lowest
            Least probability of a find.

        Raises
        ------
        BadInputError
            If neither lattice nor spacing is given.
        """
        constant = spacing if lattice is None else lattice.spacing
        if constant is None:
            raise BadInputError("no lattice was found: give the lattice constant in nm")
        known = np.isfinite(image)
        usual = float(np.median(image[known])) if known.any() else 0.0
        even, zoom = resampled(np.where(known, image, usual), constant, self.spacing)
        residual = where = None
        if lattice is not None:
            sites = lattice.sites(-2 * constant)
            fit = pristine_fit(even, sites.places * zoom, sites.sublattice, self.spacing)
            residual, where = fit.residual, fit.sites
        probability, spread = self.predict(standardised(even, self.spacing), residual, where)
        found = self.finds(probability, spread, lowest).zoomed(1 / zoom)
        at = tuple(np.clip(np.rint(found.places).astype(int), 0, np.array(known.shape) - 1).T)
        return Look(found.take(known[at]), probability, spread, zoom)

    @torch.inference_mode()
    def _members(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(4, y, x)`` to ``(members · 2, y, x)`` probabilities."""
        height, width = image.shape[-2:]
        more = [-n % self.network.multiple for n in (height, width)]
        padded = np.pad(image, ((0, 0), (0, more[0]), (0, more[1])), mode="edge")
        logits = self.network(torch.from_numpy(padded[None]).to(self.device))
        said = torch.sigmoid(logits[:, 0, :, :height, :width])
        return np.asarray(said.flatten(0, 1).cpu().numpy())
