"""SegNet (Badrinarayanan et al. 2017) with nearest upsampling: a class for every pixel.

The paper's decoder puts each value back where max pooling found it; here each is repeated instead, as in the decoders
that came after. The layers and their parameters are the same.
"""

from __future__ import annotations

import torch
from torch import nn

from proprune_cli.nets.zoo.layers import conv_relu, initialise, parse_widths, require_size
from proprune_cli.nets.zoo.vgg import STAGES_16, conv_widths


class SegNet(nn.Module):
    """The thirteen convolutions of VGG-16 in five pooled stages, and their mirror image with upsampling."""

    def __init__(self, in_channels: int, classes: int, widths: list[int]) -> None:
        super().__init__()
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        cin, index = in_channels, 0
        for convs in STAGES_16:
            mirrored: list[nn.Module] = [nn.Upsample(scale_factor=2, mode="nearest")]
            for _ in range(convs):
                cout = widths[index]
                encoder.append(conv_relu(cin, cout, 3))
                back = nn.Conv2d(cout, classes, 3, padding=1) if index == 0 else conv_relu(cout, cin, 3)
                mirrored.insert(1, back)
                cin, index = cout, index + 1
            encoder.append(nn.MaxPool2d(2))
            decoder = mirrored + decoder
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.decoder(self.encoder(x))


def segnet(in_channels: int, classes: int, size: tuple[int, int], *, width: float = 1.0, widths: str = "") -> nn.Module:
    """SegNet, output [N, classes, height, width]; ``widths``: the thirteen convolutions of the encoder.

    Raises:
        InputError: the image's sides are not multiples of 32.
    """
    require_size("segnet", size, 32, multiple=32)
    return initialise(SegNet(in_channels, classes, parse_widths(widths, conv_widths(STAGES_16), width)))
