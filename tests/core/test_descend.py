"""descend: the path of gradient descent, under every transform, with every kind of rate, and what it refuses."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from refusals import refuses

import purenet as pn
from purenet.descending import Descent, descend


def bowl(x):
    """(x − 3)², whose descent at rate η is xₜ = 3 + (1 − 2η)ᵗ (x₀ − 3)."""
    return jnp.sum((x - 3) ** 2)


def way(x0, rate, steps):
    return 3 + (1 - 2 * rate) ** np.arange(steps + 1) * (x0 - 3)


@pytest.mark.parametrize("x0", [1, 1.0, np.float32(1), jnp.float32(1)])
def test_the_path_is_the_formula(x0):
    descent = descend(bowl, x0, 0.1, 5)
    path = way(1, 0.1, 5)
    np.testing.assert_allclose(descent.path, path, rtol=1e-6)
    np.testing.assert_allclose(descent.values, (path - 3) ** 2, rtol=1e-5)
    np.testing.assert_allclose(descent.gradients, 2 * (path - 3), rtol=1e-5)
    assert {leaf.dtype for leaf in descent} == {jnp.dtype(jnp.float32)}
    assert repr(descent) == "Descent(values of shape (6,), path of 1 arrays)"


@pytest.mark.parametrize("rate", [0.1, lambda step: 0.1, optax.sgd(0.1)], ids=["number", "schedule", "optimizer"])
def test_no_steps_give_the_start(rate):
    chex.assert_trees_all_equal(descend(bowl, 1.0, rate, 0), Descent(*(jnp.array([a]) for a in (1.0, 4.0, -4.0))))


@pytest.mark.parametrize(
    "rate",
    [
        0.1 * 0.5 ** np.arange(4),
        jnp.array([0.1, 0.05, 0.025, 0.0125]),
        optax.exponential_decay(0.1, 1, 0.5),
        lambda step: 0.1 * 0.5**step,
        optax.sgd(optax.exponential_decay(0.1, 1, 0.5)),
        optax.inject_hyperparams(optax.sgd)(optax.exponential_decay(0.1, 1, 0.5)),
    ],
    ids=["float64 array", "array", "optax's schedule", "function", "optimizer", "injected"],
)
def test_a_rate_for_every_step(rate):
    x, path = 1.0, [1.0]
    for step in range(4):
        x -= 0.1 * 0.5**step * 2 * (x - 3)
        path.append(x)
    np.testing.assert_allclose(descend(bowl, 1.0, rate, 4).path, path, rtol=1e-6)


def test_starts_of_any_structure_keep_their_dtypes():
    def f(x):
        return jnp.sum(x["a"] ** 2) + sum(jnp.sum(b.astype(jnp.float32) ** 2) for b in x["b"])

    x0 = {"a": jnp.ones(2), "b": (jnp.ones((2, 3), jnp.bfloat16), 2.0)}
    descent = descend(f, x0, 0.25, 3)
    chex.assert_trees_all_equal_structs(descent.path, x0)
    chex.assert_trees_all_equal_shapes_and_dtypes(descent.path, descent.gradients)
    assert [a.shape for a in jax.tree.leaves(descent.path)] == [(4, 2), (4, 2, 3), (4,)]
    assert descent.path["b"][0].dtype == jnp.bfloat16
    np.testing.assert_array_equal(descent.path["b"][1], [2, 1, 0.5, 0.25])


def test_descents_vmapped_over_starts_and_rates_are_the_single_ones_under_jit_too():
    one = chex.assert_max_traces(lambda x0, rate: descend(bowl, x0, rate, 4), n=1)
    run = jax.jit(jax.vmap(one))
    starts, rates = jnp.array([0.0, 1.0, 5.0]), jnp.array([0.1, 0.4, 0.6])
    together = run(starts, rates)
    for index in range(3):
        alone = descend(bowl, starts[index], rates[index], 4)  # not jitted: known rates
        chex.assert_trees_all_close(jax.tree.map(lambda a, i=index: a[i], together), alone, rtol=1e-6)
    assert np.isnan(run(starts, rates * jnp.nan).values[:, 1:]).all()  # traced rates pass, and show themselves


def test_the_gradient_by_start_and_rate_is_that_of_the_formula(x64):
    def end(x0, rate):
        return descend(bowl, x0, rate, 5).path[-1]

    by_start, by_rate = jax.grad(end, (0, 1))(1.0, 0.1)
    np.testing.assert_allclose(by_start, 0.8**5, rtol=1e-14)
    np.testing.assert_allclose(by_rate, 5 * 0.8**4 * -2 * (1 - 3), rtol=1e-14)


@pytest.mark.parametrize(
    "optimizer",
    [
        optax.chain(optax.sgd(0.5), optax.scale_by_backtracking_linesearch(10)),
        optax.polyak_sgd(),
        optax.contrib.sam(optax.sgd(0.1), optax.sgd(0.01), opaque_mode=True),
        optax.lbfgs(),
    ],
    ids=["line search", "polyak", "sam", "L-BFGS"],
)
def test_optimizers_get_value_and_functions(optimizer):
    def valley(x):
        return jnp.sum(jnp.array([1.0, 10.0]) * x**2) / 2

    values = descend(valley, jnp.array([1.0, 1.0]), optimizer, 30).values
    assert values[-1] < values[0] / 10


class TroubleState(optax.EmptyState):
    """A state that always tells of trouble."""

    def trouble(self):
        return "the line search found no step. Start elsewhere."


def test_the_trouble_of_an_optimizer_is_raised_where_it_is_known():
    optimizer = optax.chain(
        optax.GradientTransformation(lambda params: TroubleState(), lambda grads, state, params=None: (grads, state)),
        optax.scale(-0.1),
    )
    with refuses(pn.ShapeError, "descend: the line search found no step. Start elsewhere."):
        descend(bowl, 1.0, optimizer, 2)


def test_newtons_method_descends_and_tells_where_it_cannot():
    valley = pn.descend(lambda x: jnp.sum(x**2) + x[0] * x[1], jnp.array([1.0, 2.0]), pn.optim.newton(), 2)
    np.testing.assert_allclose(valley.path[1], [0, 0], atol=1e-6)
    with pytest.raises(
        pn.ShapeError, match=r"^descend: newton: expected a positive definite Hessian at update 1, got "
    ):
        descend(jnp.cos, 0.1, pn.optim.newton(), 2)
    assert np.isnan(jax.jit(lambda x: descend(jnp.cos, x, pn.optim.newton(), 2))(0.1).path[1:]).all()


def test_nothing_is_computed_in_more_than_one_scan():
    jaxpr = jax.make_jaxpr(lambda x0: descend(bowl, x0, 0.1, 1000))(1.0)
    names = [equation.primitive.name for equation in jaxpr.eqns]
    assert names.count("scan") == 1
    assert len(names) < 40


FLOATING = "Whole numbers have no slope: convert it, such as jnp.asarray(x0, float)."
RATE = "Such as 0.1; a schedule may give 0, to warm up."


def test_f_may_give_a_number_of_pythons():
    assert descend(lambda x: 3.0, 1.0, 0.1, 2).values.tolist() == [3.0, 3.0, 3.0]


BAD = {
    "rate 0": ((bowl, 1.0, 0.0, 3), ValueError, f"expected a rate above 0 and finite, got 0. {RATE}"),
    "rate below 0": ((bowl, 1.0, -0.1, 3), ValueError, f"expected a rate above 0 and finite, got -0.1. {RATE}"),
    "rate NaN": ((bowl, 1.0, np.nan, 3), ValueError, f"expected a rate above 0 and finite, got nan. {RATE}"),
    "rate infinite": (
        (bowl, 1.0, jnp.float32(jnp.inf), 3),
        ValueError,
        f"expected a rate above 0 and finite, got inf. {RATE}",
    ),
    "one of the rates": (
        (bowl, 1.0, np.array([0.1, -0.2, 0.1]), 3),
        ValueError,
        f"expected a rate above 0 and finite, got -0.2. {RATE}",
    ),
    "two rates for three steps": (
        (bowl, 1.0, np.array([0.1, 0.2]), 3),
        ValueError,
        "expected one rate, or 3, one for each step, got float64 of shape (2,). For many descents at once use "
        "jax.vmap.",
    ),
    "rates of whole numbers": (
        (bowl, 1.0, np.array([1, 2, 3]), 3),
        TypeError,
        "expected a rate of floating dtype, got int64 of shape (3,). Convert it with astype(float).",
    ),
    "rate of text": (
        (bowl, 1.0, "0.1", 3),
        TypeError,
        "expected a rate, got '0.1'. Give a number, an array of one for each step, a schedule or an optax optimizer.",
    ),
    "schedule below 0": (
        (bowl, 1.0, optax.linear_schedule(0.1, -0.1, 2), 3),
        ValueError,
        "expected a schedule of rates of 0 or more and finite, got -0.1. Look at its values.",
    ),
    "schedule of arrays": (
        (bowl, 1.0, lambda step: jnp.ones(2), 3),
        TypeError,
        "expected a schedule that gives one number, got float32 of shape (2,). Give one rate a step.",
    ),
    "factory": (
        (bowl, 1.0, optax.adam, 3),
        TypeError,
        "expected a rate, got a function that makes an optimizer. Call it, such as optax.adam(1e-3).",
    ),
    "steps below 0": (
        (bowl, 1.0, 0.1, -1),
        ValueError,
        "expected steps of 0 or more, got -1. Give the number of updates to make.",
    ),
    "steps not whole": (
        (bowl, 1.0, 0.1, 3.0),
        TypeError,
        "expected steps to be a whole number, got 3.0. Give an int of 0 or more.",
    ),
    "x0 of integers": (
        (bowl, np.array([1, 2]), 0.1, 3),
        TypeError,
        f"expected x0 of floating dtype, got int64 of shape (2,). {FLOATING}",
    ),
    "x0 of JAX's integers": (
        (bowl, jnp.array([1, 2]), 0.1, 3),
        TypeError,
        f"expected x0 of floating dtype, got int32 of shape (2,). {FLOATING}",
    ),
    "x0 of float64": (
        (bowl, np.array([1.0, 2.0]), 0.1, 3),
        TypeError,
        "expected arrays of a dtype that JAX keeps, got float64 of shape (2,), which it would turn into float32. "
        "Convert it with astype('float32'), or the data with pn.data.check_data.",
    ),
    "x0 True": ((bowl, True, 0.1, 3), TypeError, f"expected x0 of floating dtype, got True. {FLOATING}"),
    "x0 NaN": (
        (bowl, (1.0, np.nan), 0.1, 3),
        ValueError,
        "expected x0 to be finite, got nan or inf in it. Start where f has a value and a slope.",
    ),
    "x0 of nothing": (
        (bowl, (), 0.1, 3),
        TypeError,
        "expected x0 with at least one number, got a tuple of 0. Start somewhere.",
    ),
    "no function": (
        (3, 1.0, 0.1, 3),
        TypeError,
        "expected f to be a function of x, got 3. The function first, then x0.",
    ),
    "f of many numbers": (
        (lambda x: x**2, jnp.ones(2), 0.1, 3),
        ValueError,
        "expected f to give one number, got float32 of shape (2,). Sum or average, or give jax.vmap one start at a "
        "time.",
    ),
    "f of whole numbers": (
        (lambda x: 3, 1.0, 0.1, 3),
        TypeError,
        "expected f to give one floating number, got int32 of shape (). Return a scalar array.",
    ),
    "f of a pair": (
        (lambda x: (x, x), 1.0, 0.1, 3),
        TypeError,
        "expected f to give one floating number, got a tuple of 2. Return a scalar array.",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("args", "kind", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_refused(args, kind, message):
    with refuses(kind, f"descend: {message}"):
        descend(*args)
