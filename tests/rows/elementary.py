"""dense, shapes and activations."""

import purenet as pn
from rows.base import LayerRow

ROWS = (
    LayerRow("dense", lambda: pn.dense(3), shapes=((4,), (1,))),
    LayerRow("dense", lambda: pn.dense(2, bias=False), shapes=((4,),)),
    LayerRow("flatten", lambda: pn.flatten, shapes=((3, 4), (), (2, 1, 3)), integers=True),
    LayerRow("reshape", lambda: pn.reshape((2, -1)), shapes=((6,), (3, 4)), integers=True),
    LayerRow("relu", lambda: pn.relu, kinks=((0.0, 0.0),)),
    LayerRow("leaky_relu", pn.leaky_relu, kinks=((0.0, 0.01),)),
    LayerRow("leaky_relu", lambda: pn.leaky_relu(0.3), kinks=((0.0, 0.3),)),
    LayerRow("relu6", lambda: pn.relu6, low=-2.0, high=8.0, kinks=((0.0, 0.0), (6.0, 0.0))),
    LayerRow("hard_tanh", lambda: pn.hard_tanh, kinks=((-1.0, 0.0), (1.0, 0.0))),
    LayerRow("hard_sigmoid", lambda: pn.hard_sigmoid, low=-5.0, high=5.0, kinks=((-3.0, 0.0), (3.0, 0.0))),
    LayerRow("step", lambda: pn.step, kinks=((0.0, 0.0),)),
    LayerRow("elu", pn.elu, kinks=((0.0, 1.0),)),
    LayerRow("elu", lambda: pn.elu(0.5), kinks=((0.0, 0.5),)),
    LayerRow("celu", pn.celu, kinks=((0.0, 1.0),)),
    LayerRow("celu", lambda: pn.celu(0.5), kinks=((0.0, 1.0),)),
    LayerRow("selu", lambda: pn.selu, kinks=((0.0, 1.0507009873554805 * 1.6732632423543772),)),
    # Autodiff takes 1 - y² from y, which cancels in float32 beyond 2.
    LayerRow("tanh", lambda: pn.tanh, low=-2.0, high=2.0),
    LayerRow("sigmoid", lambda: pn.sigmoid),
    LayerRow("log_sigmoid", lambda: pn.log_sigmoid),
    LayerRow("softplus", lambda: pn.softplus),
    LayerRow("soft_sign", lambda: pn.soft_sign, kinks=((0.0, 1.0),)),
    LayerRow("gelu", lambda: pn.gelu),
    LayerRow("gelu_tanh", lambda: pn.gelu_tanh),
    LayerRow("silu", lambda: pn.silu),
    LayerRow("swish", lambda: pn.swish),
    LayerRow("mish", lambda: pn.mish),
    LayerRow("softmax", lambda: pn.softmax),
    LayerRow("log_softmax", lambda: pn.log_softmax),
)
