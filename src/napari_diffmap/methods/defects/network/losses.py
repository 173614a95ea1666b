"""Losses of rare pixels: focal, weighted pixel by pixel, and Dice."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits


def focal(
    logits: Tensor, labels: Tensor, weight: Tensor, gamma: float = 1.5, alpha: float = 0.6
) -> Tensor:
    """Mean focal loss (Lin et al., ICCV 2017).

    Each pixel is weighted by its own error.  (A weight made of the mean error of a batch, as it
    is found in published code, only scales the gradient and treats all pixels alike.)

    Parameters
    ----------
    logits, labels
        Of one shape; labels 0–1.
    weight
        What a pixel counts, broadcast to them; 0 where nothing is known.
    gamma
        How little counts what is right already; 0 is the cross-entropy.
    alpha
        Share of the weight that goes to label 1.
    """
    entropy = binary_cross_entropy_with_logits(logits, labels, reduction="none")
    right = torch.sigmoid(logits) * (2 * labels - 1) + (1 - labels)
    balance = alpha * labels + (1 - alpha) * (1 - labels)
    weight = weight.expand_as(logits)
    loss = balance * (1 - right).clamp_min(1e-6) ** gamma * entropy * weight
    return loss.sum() / weight.sum().clamp_min(1)


def dice(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """1 − the overlap of what is said and what is true, over all pixels of a batch.

    Parameters
    ----------
    logits, labels, weight
        As in `focal`; the mean is over the second last but two axes (the kinds of marks).
    """
    said = torch.sigmoid(logits) * weight
    truth = labels * weight
    axes = [axis for axis in range(logits.ndim) if axis != logits.ndim - 3]
    both = (said * truth).sum(axes)
    whole = (said * said).sum(axes) + (truth * truth).sum(axes)
    return (1 - (2 * both + 1) / (whole + 1)).mean()


def marks_loss(logits: Tensor, labels: Tensor, weight: Tensor) -> Tensor:
    """What the networks learn by: ten focal losses (their size is that of Dice) and Dice."""
    return 10 * focal(logits, labels, weight) + dice(logits, labels, weight)
