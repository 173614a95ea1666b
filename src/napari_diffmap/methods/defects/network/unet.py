"""A small U-Net for two processor cores, and an ensemble of them in one set of weights.

Without any normalisation layer: what it is given is standardised, and each of its answers then
depends on the pixels about it alone, so that tiles and whole images agree.
"""

from __future__ import annotations

import math
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, max_pool2d

#: What goes in, see `inputs.seen`.
INPUTS: Final = 4
#: What comes out: too little intensity, too much.
OUTPUTS: Final = 2
#: Share of the pixels that is taken to be of a defect before anything is learnt.
_RARE = 0.02


class UNet(nn.Module):
    """Encoder and decoder with skips (Ronneberger et al., MICCAI 2015), narrow.

    Parameters
    ----------
    width
        Maps at full resolution, 4 to 64; each level has twice as many.
    levels
        Resolutions, 2 to 5.
    """

    def __init__(self, width: int = 12, levels: int = 3) -> None:
        super().__init__()
        if not (4 <= width <= 64 and 2 <= levels <= 5):
            raise TypeError(f"no network of width {width} and {levels} levels is made")
        widths = [width << level for level in range(levels)]
        self.down = nn.ModuleList(
            _pair(before, after) for before, after in zip([INPUTS, *widths], widths, strict=False)
        )
        # Narrowed before it is enlarged: half of the work of the finest level.
        self.narrow = nn.ModuleList(
            nn.Conv2d(2 * after, after, 1) for after in reversed(widths[:-1])
        )
        self.up = nn.ModuleList(
            nn.Sequential(_conv(2 * after, after), nn.ReLU()) for after in reversed(widths[:-1])
        )
        self.head = nn.Conv2d(width, OUTPUTS, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.normal_(self.head.weight, std=0.05)
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, math.log(_RARE / (1 - _RARE)))
        self.multiple = 1 << (levels - 1)

    def forward(self, x: Tensor) -> Tensor:
        """``(b, INPUTS, y, x)`` to logits ``(b, OUTPUTS, y, x)``, sides multiples of `multiple`."""
        kept: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(max_pool2d(x, 2) if level else x)
            kept.append(x)
        x = kept.pop()
        for narrow, block in zip(self.narrow, self.up, strict=True):
            beside = kept.pop()
            x = interpolate(narrow(x), size=beside.shape[-2:], mode="bilinear")
            x = block(torch.cat((beside, x), dim=1))
        out: Tensor = self.head(x)
        return out


class Ensemble(nn.ModuleList):
    """Networks of one build that learnt apart; names of weights begin with ``0.``, ``1.``, …

    Parameters
    ----------
    members
        How many, 1 to 10.
    width, levels
        Of each, see `UNet`.
    seed
        Of the weights they begin with.
    """

    def __init__(self, members: int = 3, width: int = 12, levels: int = 3, seed: int = 0) -> None:
        if not 1 <= members <= 10:
            raise TypeError(f"no ensemble of {members} members is made")
        build = {"members": members, "width": width, "levels": levels}
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            super().__init__(UNet(width, levels) for _ in range(members))
        #: What it was built of, as a card says it.
        self.build = build
        self.to(memory_format=torch.channels_last)

    @property
    def multiple(self) -> int:
        """Sides of an input are multiples of it."""
        return int(self[0].multiple)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Tensor:
        """All members on one batch: ``(b, INPUTS, y, x)`` to ``(members, b, OUTPUTS, y, x)``."""
        x = x.contiguous(memory_format=torch.channels_last)
        return torch.stack([member(x) for member in self])

    def each(self, batches: Tensor) -> Tensor:
        """Every member on a batch of its own: ``(members, b, …)`` to ``(members, b, …)``."""
        return torch.stack(
            [
                member(batch.contiguous(memory_format=torch.channels_last))
                for member, batch in zip(self, batches, strict=True)
            ]
        )


def _conv(before: int, after: int) -> nn.Conv2d:
    return nn.Conv2d(before, after, 3, padding=1)


def _pair(before: int, after: int) -> nn.Sequential:
    return nn.Sequential(_conv(before, after), nn.ReLU(), _conv(after, after), nn.ReLU())
