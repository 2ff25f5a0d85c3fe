"""None of the library's right rules is blamed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from specs import LAYERS, LOSSES

from purenet import check


def rng_of(key):
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def one_of(case):
    """A row's numbers as `inputs` of a check."""
    return lambda key: jax.tree.map(np.asarray, case(rng_of(key), ()))


def spec_of(case):
    """Specs with float32 and int32."""

    def leaf(a):
        kinds = {"f": jnp.float32, "b": jnp.bool_}
        return jax.ShapeDtypeStruct(np.shape(a), kinds.get(np.asarray(a).dtype.kind, jnp.int32))

    return jax.tree.map(leaf, case(np.random.default_rng(0), ()))


# The last row of a name has the most options; tests/laws runs all of them.
ROWS = {row.name: row for row in LAYERS}


@pytest.mark.slow
@pytest.mark.parametrize("name", ROWS)
def test_no_rule_of_a_layer_is_blamed_in_20_draws(name):
    row = ROWS[name]
    case = row.cases[-1]
    report = check.layer(row.make(), spec_of(case), inputs=one_of(case), laws=("hand rule",), draws=20)
    assert report["hand rule"].gap < 1e-7


@pytest.mark.parametrize("index", [pytest.param(i, id=f"{i}-{row.id}") for i, row in enumerate(LOSSES)])
def test_no_rule_of_a_loss_is_blamed_in_20_draws(index):
    row = LOSSES[index]

    def inputs(key):
        return row.draw(rng_of(key), ())

    laws = ("hand rule", "autodiff", "kinks")
    assert check.loss(row.make(), inputs=inputs, laws=laws, draws=20)["hand rule"].gap < 1e-7
