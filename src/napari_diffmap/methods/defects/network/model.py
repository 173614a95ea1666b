"""A trained network for defects, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from napari_diffmap.errors import BadInputError, ModelError
from napari_diffmap.methods.defects.network.blending import OVERLAP, TILE, blended
from napari_diffmap.methods.defects.network.calibrated import Peaks, peaks
from napari_diffmap.methods.defects.network.inputs import SPACING, seen
from napari_diffmap.methods.defects.network.recipe import UNET
from napari_diffmap.methods.defects.network.unet import OUTPUTS, Ensemble
from napari_diffmap.models.card import ModelCard


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
        self, image_std: NDArray[np.floating], residual: NDArray[np.floating] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """What the members say of each pixel.

        Parameters
        ----------
        image_std
            ``(Y, X)`` with `spacing` pixels per lattice constant, see `inputs.standardised`.
        residual
            ``(Y, X)`` in sigma, see `residual.pristine_residual`; not finite, or None, where there
            is no lattice.

        Returns
        -------
        probability, spread
            ``(2, Y, X)`` float32 each: mean and standard deviation of the members that there is too
            little [0], too much [1] intensity.
        """
        if image_std.ndim != 2:
            raise BadInputError(f"one image (y, x) is looked at, not {image_std.ndim} axes")
        said = blended(self._members, seen(image_std, residual), TILE, OVERLAP)
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

    @torch.inference_mode()
    def _members(self, image: NDArray[np.float32]) -> NDArray[np.float32]:
        """``(2, y, x)`` to ``(members · 2, y, x)`` probabilities."""
        height, width = image.shape[-2:]
        more = [-n % self.network.multiple for n in (height, width)]
        padded = np.pad(image, ((0, 0), (0, more[0]), (0, more[1])), mode="edge")
        logits = self.network(torch.from_numpy(padded[None]).to(self.device))
        said = torch.sigmoid(logits[:, 0, :, :height, :width])
        return np.asarray(said.flatten(0, 1).cpu().numpy())
