"""check.optimizer: optax's optimizers keep the laws, and broken ones do not."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax import contrib
from refusals import refuses

import purenet as pn
from purenet import check

RIGHT = {
    "adamw of a schedule, clipped": optax.chain(
        optax.clip_by_global_norm(1.0), optax.adamw(optax.cosine_decay_schedule(1e-2, 100))
    ),
    "several steps of momentum": optax.MultiSteps(optax.sgd(0.1, 0.5, nesterov=True), 3),
    "polyak": optax.polyak_sgd(),
}
MORE = {
    "adam": optax.adam(1e-2),
    "rmsprop": optax.rmsprop(1e-2),
    "lion": optax.lion(1e-2),
    "adafactor": optax.adafactor(0.05),
    "noisy": optax.noisy_sgd(0.05, key=0),
    "plateau": optax.chain(optax.sgd(0.1), contrib.reduce_on_plateau()),
    "schedule free": contrib.schedule_free_sgd(0.1),
    "dowg": contrib.dowg(),
    "muon": contrib.muon(0.05),
}


@pytest.mark.parametrize("name", RIGHT)
def test_optax_keeps_every_law(name):
    report = check.optimizer(RIGHT[name])
    assert report.held
    assert all(result.held for result in report.laws)


@pytest.mark.slow
@pytest.mark.parametrize("name", MORE)
def test_more_of_optax_keeps_every_law(name):
    assert check.optimizer(MORE[name]).held


@pytest.mark.slow
def test_line_searches_keep_the_laws_that_apply():
    # optax's zoom line search takes the first leaf of a tree, of which an empty one has none.
    assert check.optimizer(optax.lbfgs(), skip=("empty tree",), steps=20).held


def told(law, optimizer, words="", **more):
    with pytest.raises(check.CheckError) as caught:
        check.optimizer(optimizer, **more)
    report = caught.value.report
    assert law in {failure.law for failure in report.failures}, report
    assert words in str(report.failures), report


def stateless(update):
    return optax.GradientTransformation(lambda params: (), lambda grads, state, params=None: (update(grads), state))


def test_broken_optimizers_are_caught():
    told("descends", stateless(lambda grads: grads), laws=("descends",), words="A wrong sign")
    told("descends", optax.sgd(100.0), laws=("descends",))
    told("tree", stateless(lambda grads: {}), laws=("tree",), words="The tree differs")
    wide = stateless(lambda grads: jax.tree.map(lambda g: -0.1 * g.astype(jnp.float32), grads))
    told("bfloat16", wide, laws=("bfloat16",), words="float32 of shape")
    unit = stateless(lambda grads: jax.tree.map(lambda g: -0.1 * g / jnp.linalg.norm(g), grads))
    told("zero gradients", unit, laws=("zero gradients",), words="0/0")
    told("empty tree", stateless(lambda grads: (jax.tree.leaves(grads)[0], grads)[1]), laws=("empty tree",))
    noise = np.random.default_rng(0)
    told("jit", stateless(lambda grads: jax.tree.map(lambda g: g * noise.uniform(), grads)), laws=("jit",))


def test_a_state_that_changes_is_caught():
    def update(grads, state, params=None):
        return jax.tree.map(lambda g: -0.1 * g, grads), state + 1.0

    told("tree", optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update), laws=("tree",))
    told("retrace", optax.GradientTransformation(lambda params: jnp.zeros((), jnp.int32), update), laws=("retrace",))


def test_what_bfloat16_makes_of_betas_is_seen():
    # The decay 0.999 becomes 1 in bfloat16, and 1 - 1 divides: an optimizer of optax that is not for 16 bits.
    told("bfloat16", optax.inject_hyperparams(optax.adam)(learning_rate=1e-2), laws=("bfloat16",))


def test_params_of_the_user():
    assert check.optimizer(
        optax.adam(1e-2), (jnp.ones((2, 2)), [jnp.zeros(())]), laws=("tree", "scan", "descends")
    ).held


def test_wrong_arguments_are_refused():
    with refuses(
        pn.StructureError,
        "check.optimizer: expected an optax optimizer, got a function. Call the factory, such as optax.adam(1e-3).",
    ):
        check.optimizer(optax.adam)
    with refuses(
        pn.StructureError,
        "check.optimizer: expected params of floating arrays, got int32 of shape (2,). Use jnp.asarray.",
    ):
        check.optimizer(optax.sgd(0.1), {"w": np.zeros(2, np.int32)})
    with refuses(pn.ShapeError, "check.optimizer: expected steps of 1 or more, got 0. Give a larger int."):
        check.optimizer(optax.sgd(0.1), steps=0)
