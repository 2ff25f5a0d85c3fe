"""Layers made of layers."""

import purenet as pn
from rows.base import LayerRow

ROWS = (
    LayerRow("serial", lambda: pn.serial(pn.dense(4), pn.softplus, pn.dense(2)), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(3), pn.softplus), shapes=((3,),)),
    LayerRow("residual", lambda: pn.residual(pn.dense(2), shortcut=pn.dense(2)), shapes=((3,),)),
    LayerRow("each", lambda: pn.each(pn.serial(pn.dense(2), pn.softplus)), shapes=((4, 3), (1, 2))),
    LayerRow("each", lambda: pn.each(pn.residual(pn.each(pn.dense(2)))), shapes=((3, 4, 2),)),
)
