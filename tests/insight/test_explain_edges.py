"""explain at its edges: params that are numbers or integers, and arguments that are no arrays."""

import re

import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn
from purenet.insight.explaining import explain

HALF = pn.losses.half_squared_error
SCALED = pn.layer(lambda params, x: params["w"] * x, name="scaled")


def test_params_may_be_plain_numbers():
    found = explain(SCALED, HALF, {"w": 2.0}, jnp.ones(1), jnp.ones(1), rate=0.5)
    assert float(found.updated["w"]) == 1.5
    assert "['w']  2 - 0.5 · 1 = 1.5" in str(found)


def test_a_step_leaves_integers_as_they_are():
    net = pn.layer(lambda params, x: params["w"] * x * params["n"].astype(x.dtype), name="scaled")
    params = {"n": jnp.int32(2), "w": jnp.float32(1.0)}
    found = explain(net, HALF, params, jnp.ones(1), jnp.ones(1), rate=0.5)
    assert (int(found.updated["n"]), float(found.updated["w"])) == (2, 0.0)
    assert str(found).endswith("\n  ['w']  1 - 0.5 · 2 = 0")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        (
            {"rate": float("inf")},
            pn.ShapeError,
            "explain: expected a finite rate, got inf. Give one such as 0.1.",
        ),
        (
            {"x": pn.spec(1)},
            pn.StructureError,
            "explain: expected arguments of arrays and numbers, got a spec, float32 of shape (1,). "
            "Give what net.init made, and examples.",
        ),
        (
            {"y": np.array(["a"])},
            pn.StructureError,
            "explain: expected arguments of arrays and numbers, got <U1 of shape (1,). "
            "Give what net.init made, and examples.",
        ),
        (
            {"params": {"w": "a"}},
            pn.StructureError,
            "explain: expected arguments of arrays and numbers, got 'a'. Give what net.init made, and examples.",
        ),
        (
            {"y": 2**40},
            pn.ShapeError,
            "explain: expected whole numbers that int32 holds, got 1099511627776. Give a smaller one, or a float.",
        ),
    ],
    ids=["rate", "spec", "text", "params", "large"],
)
def test_wrong_arguments_are_refused(options, error, message):
    given = {"params": {"w": jnp.ones(1)}, "x": jnp.ones(1), "y": jnp.ones(1)} | options
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        explain(SCALED, HALF, **given)


def test_a_target_that_the_loss_does_not_know_is_refused_by_its_value(key):
    params, _ = pn.dense(2).init(key, pn.spec(3))
    with pytest.raises(pn.ShapeError, match=r"^softmax_cross_entropy: expected labels from 0 to 1, .* 3"):
        pn.explain(pn.dense(2), pn.losses.softmax_cross_entropy, params, jnp.ones(3), 3)
