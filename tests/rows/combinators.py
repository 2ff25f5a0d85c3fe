"""Layers made of layers."""

import purenet as pn
from rows.base import LayerRow


def several(*shapes):
    """Draws a tuple of arrays of these shapes."""

    def draw(rng, many):
        return tuple(rng.uniform(-3, 3, (*many, *shape)) for shape in shapes)

    draw.__name__ = "-".join(map(str, shapes))
    return draw


def diamond():
    """Two inputs, a layer used twice, an output that others use, an input that is an output."""
    x, z, shared = pn.node("x"), pn.node("z"), pn.dense(3)
    h = pn.tanh(shared(x))
    y = pn.multiply(shared(h), h, pn.dense(3)(z))
    return pn.graph({"x": x, "z": z}, (pn.concatenate()(y, x), {"code": h, "same": z}))


def diamond_inputs(rng, many):
    return {"x": rng.uniform(-3, 3, (*many, 3)), "z": rng.uniform(-3, 3, (*many, 2))}


ROWS = (
    LayerRow("graph", diamond, inputs=(diamond_inputs,)),
    LayerRow("branch", lambda: pn.branch(pn.dense(2), pn.softplus, pn.tanh), shapes=((3,),)),
    LayerRow("parallel", lambda: pn.parallel(pn.dense(2), pn.tanh), inputs=(several((3,), (2, 2)),)),
    LayerRow("add", lambda: pn.add, inputs=(several((3,), (3,)), several((2, 1), (2, 1), (2, 1)))),
    LayerRow("multiply", lambda: pn.multiply, inputs=(several((3,), (3,)), several(*[(2, 2)] * 4))),
    LayerRow("concatenate", pn.concatenate, inputs=(several((3,), (1,)), several((2, 1), (2, 2), (2, 3)))),
    LayerRow("concatenate", lambda: pn.concatenate(0), inputs=(several((2, 3), (1, 3)),)),
    LayerRow("serial", lambda: pn.serial(pn.dense(4), pn.softplus, pn.dense(2)), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(3), pn.softplus), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(2), shortcut=pn.dense(2)), shapes=((3,),)),
    LayerRow("each", lambda: pn.each(pn.serial(pn.dense(2), pn.softplus)), shapes=((4, 3), (1, 2))),
    LayerRow("each", lambda: pn.each(pn.residual(pn.each(pn.dense(2)))), shapes=((3, 4, 2),)),
    LayerRow("repeat", lambda: pn.repeat(pn.serial(pn.dense(3), pn.softplus), 3), shapes=((3,),)),
    LayerRow("repeat", lambda: pn.repeat(pn.remat(pn.residual(pn.dense(2), pn.tanh)), 2), shapes=((2,),)),
    LayerRow("remat", lambda: pn.remat(pn.serial(pn.dense(3), pn.softplus, pn.dense(2))), shapes=((3,),)),
)
