"""An encoder without weights: statistics of stain densities and their texture, for trials without a network.

A patch is unmixed into haematoxylin, eosin and DAB by colour deconvolution (Ruifrok and Johnston,
Anal Quant Cytol Histol 2001; 23: 291-299). By Beer and Lambert's law a pixel's optical density
-log10(I / I0) is the sum of the stains' densities times their colour vectors, so the inverse of the
3 x 3 matrix of vectors gives the densities. The mean optical density of R, G and B is the fourth channel.

The 60 features: for each of the 4 channels the mean and 5 quantiles (24); the share of tissue (1); the
correlations between H, E and DAB (3); and for each channel at 4 scales (pixels averaged in blocks
of 1, 2, 4, 8) the root mean square of the gradient (16) and the SD (16). How gradient and variance fall
off with scale tells fine texture from coarse. All are in units of optical density, except share and correlations.
"""

import torch
from torch import nn
from torch.nn import functional

# Optical density in R, G and B of unit density, normalised to length 1 (Ruifrok and Johnston 2001).
STAINS = ((0.644211, 0.716556, 0.266844), (0.092789, 0.954111, 0.283111), (0.268, 0.570, 0.776))
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
TISSUE = 0.15  # optical density above which a pixel is tissue (Macenko et al., ISBI 2009)
SCALES = 4


class StainStats(nn.Module):
    """Map pixels (B, 3, H, W), 0 to 255, to features (B, 60); H and W are at least 16."""

    def __init__(self) -> None:
        super().__init__()
        vectors = functional.normalize(torch.tensor(STAINS, dtype=torch.float64), dim=1)
        self.register_buffer("unmix", torch.linalg.inv(vectors).T.float(), persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return features (B, 60) of pixels (B, 3, H, W); see the head of this module for their order."""
        density = self.densities(pixels)
        # Means of 2 x 2 pixels: a quarter of the numbers to sort, and less noise in the tails.
        coarse = functional.avg_pool2d(density, 2).flatten(2).sort(dim=2).values
        positions = [round(q * (coarse.shape[2] - 1)) for q in QUANTILES]
        parts = [
            density.mean((2, 3)),
            coarse[:, :, positions].flatten(1),
            (density[:, 3:] > TISSUE).float().mean((2, 3)),
            _correlations(density[:, :3]),
        ]
        for scale in range(SCALES):
            if scale:
                density = functional.avg_pool2d(density, 2)
            across, down = density.diff(dim=3), density.diff(dim=2)
            parts.append((across.square().mean((2, 3)) + down.square().mean((2, 3))).sqrt())
            parts.append((density - density.mean((2, 3), keepdim=True)).square().mean((2, 3)).sqrt())
        return torch.cat(parts, dim=1)

    def densities(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return densities of H, E, DAB and the mean optical density, (B, 4, H, W). White is 0, black as 1 of 255."""
        optical = -torch.log10(pixels.clamp(min=1) / 255)
        stains = torch.einsum("sc,bchw->bshw", self.unmix, optical)
        return torch.cat([stains, optical.mean(1, keepdim=True)], dim=1)


def _correlations(density: torch.Tensor) -> torch.Tensor:
    """Return the correlation of each two of three channels over the pixels, (B, 3); 0 where a channel is flat."""
    values = density.flatten(2)
    values = values - values.mean(2, keepdim=True)
    covariance = values @ values.mT / values.shape[2]
    spread = covariance.diagonal(dim1=1, dim2=2).sqrt()
    correlation = covariance / (spread[:, :, None] * spread[:, None, :]).clamp(min=1e-6)
    return correlation[:, [0, 0, 1], [1, 2, 2]]
