"""Sketches of thumbnails, as an encoder makes features: see stratamil/features/sketch.py."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from stratamil.features import sketch
from stratamil.features.images import THUMBNAIL

BLACK = 8  # R, G and B below this, 3 x 3 pixels or more, are what fills a tile beyond the scan, and count as glass


class SketchEncoder(nn.Module):
    """Map thumbnails, uint8 (B, THUMBNAIL, THUMBNAIL, 3), to sketches, float32 (B, sketch.WIDTH)."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        waves = sketch.waves(sketch.middles(THUMBNAIL)) / THUMBNAIL
        self.register_buffer("waves", torch.tensor(waves, dtype=torch.float32), persistent=False)
        self.device, self.identity = device, dict[str, Any](encoder="sketch", dim=sketch.WIDTH)
        self.to(device)

    @torch.inference_mode()
    def forward(self, batch: Tensor) -> Tensor:
        pixels = batch.to(self.device, non_blocking=True).float()
        density = -torch.log(pixels.clamp(min=1) / 255).mean(-1)
        inside = 1 - max_pool2d((pixels.amax(-1) >= BLACK).float(), 3, stride=1, padding=1)
        filled = max_pool2d(inside, 9, stride=1, padding=4)  # with its blurred edge
        density = density * (1 - filled)
        return (self.waves @ density @ self.waves.T).flatten(1)
