"""Pooling, up-sampling and maxout."""

import numpy as np

import purenet as pn
from rows.base import LayerRow


def _apart(rng: np.random.Generator, many: tuple[int, ...]) -> np.ndarray:
    """No two elements of a channel alike, not even nearly."""
    shape = (5, 4, 1)
    places = rng.permuted(np.broadcast_to(np.arange(20.0), (*many, 20)), axis=-1)
    return places.reshape(*many, *shape) + rng.uniform(-0.3, 0.3, (*many, *shape))


ROWS = (
    LayerRow("max_pool", lambda: pn.max_pool(2), shapes=((5, 2), (4, 1))),
    LayerRow("max_pool", lambda: pn.max_pool((3, 3), stride=2, padding="same"), inputs=(_apart,)),
    LayerRow("max_pool", lambda: pn.max_pool((2, 5), stride=1, padding=(1, 2)), inputs=(_apart,)),  # an axis at a time
    LayerRow("avg_pool", lambda: pn.avg_pool(2), shapes=((5, 2),)),
    LayerRow("avg_pool", lambda: pn.avg_pool((3, 3), stride=2, padding="same"), shapes=((5, 4, 1),)),
    LayerRow("avg_pool", lambda: pn.avg_pool((2, 5), stride=1, padding=1, count_padding=True), shapes=((3, 4, 1),)),
    LayerRow("global_max_pool", lambda: pn.global_max_pool, shapes=((4, 2), (2, 3, 1))),
    LayerRow("global_avg_pool", lambda: pn.global_avg_pool, shapes=((4, 2), (2, 1, 2, 2))),
    LayerRow("upsample", lambda: pn.upsample((2, 3)), shapes=((2, 3, 2), (1, 1, 1))),
    LayerRow("upsample", lambda: pn.upsample((2, 3), "linear"), shapes=((3, 2, 2), (1, 2, 1))),
    LayerRow("maxout", lambda: pn.maxout(3, 2), shapes=((4,), (1,))),
    LayerRow("maxout", lambda: pn.maxout(2, 3, bias=False), shapes=((3,),)),
)
