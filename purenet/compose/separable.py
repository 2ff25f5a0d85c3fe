"""separable_conv: a convolution of each channel by itself, then one across channels."""

from typing import Any

import jax

from purenet.compose.chain import serial
from purenet.contract import Layer
from purenet.errors import expect_flags
from purenet.layers.conv_params import Initializer, as_count
from purenet.layers.convolving import conv, depthwise_conv
from purenet.layers.windows import make_windows


def separable_conv(
    features: int,
    window: Any,
    *,
    multiplier: int = 1,
    stride: Any = 1,
    padding: Any = "same",
    dilation: Any = 1,
    bias: bool = True,
    depthwise_init: Initializer = jax.nn.initializers.glorot_uniform(),
    kernel_init: Initializer = jax.nn.initializers.glorot_uniform(),
    bias_init: Initializer = jax.nn.initializers.zeros,
) -> Layer:
    """Depthwise convolution, then a mix of its channels: y = conv(F, 1)(depthwise_conv(window)(x)).

    It is `serial(depthwise_conv(window, bias=False, …), conv(features, (1, …)))`: the place at which the kernel looks
    and the channels that it mixes come apart, and window·C·m + C·m·F numbers do instead of window·C·F.

    Args:
      features: the number F of output channels, 1 or more.
      window: the kernel's sizes, as for `conv`.
      multiplier: the number m of features that each channel becomes in between, 1 or more.
      stride: as for `conv`; of the depthwise part, and so are the next two.
      padding: as for `conv`.
      dilation: as for `conv`.
      bias: whether the second part has a bias; the first has none, the second's would make up for it.
      depthwise_init: makes the first kernel, shape (window…, 1, C·m); any of `jax.nn.initializers`.
      kernel_init: makes the second kernel, shape (1…, C·m, F).
      bias_init: makes the bias, shape (F,).

    Returns:
      A layer from shape (space…, C) to (out…, F); params and state are tuples of the two parts'.

    Raises:
      ShapeError: as `depthwise_conv` and `conv`.
      StructureError: as `depthwise_conv` and `conv`.

    Derivation:
      The chain rule of `serial`, with the rules of `depthwise_conv` and `conv`.

    References:
      Chollet (2017), Xception: deep learning with depthwise separable convolutions.

    Example:
      >>> import jax, purenet as pn
      >>> net = pn.separable_conv(16, (3, 3), stride=2)
      >>> params, state = net.init(jax.random.key(0), pn.spec((8, 8, 4)))
      >>> [p["kernel"].shape for p in params], net.apply(params, jax.numpy.zeros((8, 8, 4))).shape
      ([(3, 3, 1, 4), (1, 1, 4, 16)], (4, 4, 16))
    """
    features = as_count("separable_conv", "features", features)
    m = as_count("separable_conv", "multiplier", multiplier)
    windows = make_windows("separable_conv", window, stride, dilation, padding)
    expect_flags("separable_conv", bias=bias)
    places = depthwise_conv(
        windows.size,
        multiplier=m,
        stride=windows.stride,
        padding=windows.padding,
        dilation=windows.dilation,
        bias=False,
        kernel_init=depthwise_init,
    )
    mix = conv(features, (1,) * windows.rank, padding="valid", bias=bias, kernel_init=kernel_init, bias_init=bias_init)
    return serial(places, mix)
