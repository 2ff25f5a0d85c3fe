"""Convolutions: windows over space."""

import purenet as pn
from rows.base import LayerRow

ROWS = (
    LayerRow("conv", lambda: pn.conv(2, 2), shapes=((4, 3),)),
    LayerRow("conv", lambda: pn.conv(2, (3, 2), stride=(2, 1), padding="circular"), shapes=((4, 3, 1),)),
    LayerRow("conv", lambda: pn.conv(4, 2, padding="causal", dilation=2, groups=2, bias=False), shapes=((4, 4),)),
    LayerRow("conv", lambda: pn.conv(2, (2, 1, 2), padding=(1, 0, (0, 1)), stride=2), shapes=((2, 2, 3, 2),)),
    LayerRow("depthwise_conv", lambda: pn.depthwise_conv((2, 2)), shapes=((3, 2, 2),)),
    LayerRow("depthwise_conv", lambda: pn.depthwise_conv(2, multiplier=2, stride=2), shapes=((5, 2),)),
    LayerRow("separable_conv", lambda: pn.separable_conv(3, (2, 2), padding="valid"), shapes=((3, 3, 2),)),
    LayerRow("conv_transpose", lambda: pn.conv_transpose(2, (3, 2), stride=2), shapes=((2, 2, 2),)),
    LayerRow(
        "conv_transpose",
        lambda: pn.conv_transpose(2, 3, stride=3, padding=((0, 2),), dilation=2, output_padding=2),
        shapes=((2, 3),),
    ),
)
