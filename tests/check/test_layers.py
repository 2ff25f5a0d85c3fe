"""check.layer: every law on the library's layers, and on users' layers of every kind."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet import check

WHOLE = {
    "dense": (pn.dense(3), pn.spec(4), None),
    "network": (pn.serial(pn.dense(4), pn.relu, pn.dropout(0.2), pn.dense(2)), pn.spec(3), None),
    "batch_norm": (pn.batch_norm(), pn.spec((2, 3)), None),
    "conv": (pn.conv(2, 2), pn.spec((4, 2)), None),
    "embedding": (
        pn.embedding(4, 3),
        pn.spec(3, jnp.int32),
        lambda key: jax.random.randint(key, (3,), 0, 4),
    ),
    "attention": (pn.attention(2, mask=True), (pn.spec((3, 4)), pn.spec((3, 3), bool)), None),
    "rnn": (pn.rnn(2), pn.spec((3, 2)), None),
    "graph": (pn.branch(pn.dense(2), pn.tanh), pn.spec(3), None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", WHOLE)
def test_the_librarys_layers_keep_every_law(name):
    net, spec, inputs = WHOLE[name]
    report = check.layer(net, spec, inputs=inputs)
    assert report.held
    assert report["hand rule"].gap < 1e-8
    assert sum(result.held is True for result in report.laws) >= 11


def test_a_report_says_what_held_and_why_the_rest_does_not_apply():
    report = check.layer(pn.relu, pn.spec(3))
    assert str(report).startswith("check.layer: relu keeps 14 laws\n  values              holds ")
    assert "  broadcast           -                it has no params that an example could fail to fit" in str(report)
    assert report["apply's autodiff"].note == "the same program as forward's"
    assert report.conventions == ("x at x = 0: hand rule takes 0; forward's autodiff takes 0 of [0, 1]",)
    with pytest.raises(KeyError, match="speed"):
        report["speed"]


def test_conventions_name_the_slopes_of_both_sides_and_the_one_taken():
    half = pn.layer(lambda params, x: jnp.maximum(x, 0.0), name="half")
    report = check.layer(half, pn.spec(2), laws=("hand rule", "kinks"))
    assert report.conventions == ("x at x = 0: hand rule takes 0.5 of [0, 1]",)
    report = check.layer(pn.leaky_relu(0.3), pn.spec(2), laws=("hand rule", "kinks"))
    assert report.conventions == ("x at x = 0: hand rule takes 0.3 of [0.3, 1]",)
    report = check.layer(pn.relu6, pn.spec(2), laws=("hand rule", "kinks"))
    assert set(report.conventions) == {
        "x at x = 0: hand rule takes 0 of [0, 1]",
        "x at x = 6: hand rule takes 0 of [0, 1]",
    }
    report = check.layer(pn.step, pn.spec(2), laws=("hand rule", "kinks"))
    assert report.conventions == ("x at x = 0: hand rule takes 0 of [0, a jump]",)


def test_a_sum_of_parts_may_take_no_slope_at_a_kink():
    nothing = pn.serial(pn.branch(pn.relu, pn.serial(lambda x: -x, pn.relu)), lambda pair: pair[0] - pair[1])
    report = check.layer(nothing, pn.spec(2), laws=("hand rule", "kinks"))
    assert report.held


def scale(**more):
    return {
        "init": lambda key, spec: ({"scale": jnp.ones(spec.shape, spec.dtype)}, ()),
        "apply": lambda params, x: params["scale"] * x,
        "name": "scale",
        **more,
    }


def broken(law, net, spec=None, words="", **more):
    """Asserts that this law, and no other, is broken, with these words; gives the failure."""
    with pytest.raises(check.CheckError) as caught:
        check.layer(net, pn.spec(3) if spec is None else spec, **more)
    report = caught.value.report
    assert {failure.law for failure in report.failures} == {law}, report
    assert words in str(report.failures[0]), report
    return report.failures[0]


def test_a_layer_that_broadcasts_is_told():
    failure = broken("broadcast", pn.layer(**scale()), words="An example of shape () was broadcast")
    assert failure.got == "outputs of shape [(3,)]"


def test_a_layer_that_changes_dtypes_is_told():
    net = pn.layer(lambda params, x: jnp.tanh(x.astype(jnp.float32)), name="narrow")
    failure = broken(
        "dtype",
        net,
        laws=("values", "hand rule", "second order", "dtype"),
        words="The dtype changes silently, for inputs and params in bfloat16",
    )
    assert (failure.leaf, failure.expected, failure.got) == ("apply", "bfloat16", "float32")


def test_a_layer_of_bfloat16_is_measured_coarsely_and_its_sign_is_still_seen():
    def apply(params, x):
        return jnp.sin(x.astype(jnp.bfloat16))

    assert check.layer(pn.layer(apply), pn.spec(3), skip=("dtype", "second order")).held

    @jax.custom_vjp
    def wrong(x):
        return apply((), x)

    wrong.defvjp(lambda x: (apply((), x), x), lambda x, dy: (-jnp.cos(x) * dy.astype(x.dtype),))
    failure = broken("hand rule", wrong, laws=("hand rule",))
    assert failure.reason == "The sign is wrong: this is minus the gradient."


def test_hidden_randomness_is_told():
    noise = np.random.default_rng(0)
    net = pn.layer(lambda params, x: x + noise.normal(size=x.shape).astype(x.dtype), name="hidden")
    assert "something else is random" in broken("key", net, laws=("key",)).reason
    assert broken("jit", net, laws=("jit",)).reason == "jit changes what it computes."


def test_inference_must_not_draw():
    def apply(params, x, state):
        return x * state["on"]

    def forward(params, xs, state, key):
        return xs * jax.random.bernoulli(key, 0.5, xs.shape).astype(xs.dtype), state

    def init(key, spec):
        return (), {"on": jnp.ones((), spec.dtype)}

    assert check.layer(pn.layer(apply, init=init, forward=forward), pn.spec(4)).held


def test_examples_that_see_each_others_order_are_told():
    def forward(params, xs, state, key):
        return jnp.cumsum(xs, axis=0), state

    net = pn.layer(lambda params, x: x, forward=forward, name="cumulative")
    assert "Another order" in broken("permutation", net, skip=("values", "apply's autodiff")).reason
    failure = broken("values", net, laws=("values",))
    assert failure.reason == "forward gives other values than apply, though nothing is random and there is no state."


def test_a_hand_rule_with_other_values_is_told():
    def vjp(params, xs, state, key):
        return 2 * xs, state, lambda dys: ((), dys)

    broken("values", pn.layer(lambda params, x: x, vjp=vjp), laws=("values",), words="vjp gives other values")


def test_python_that_looks_at_values_is_told():
    def apply(params, x):
        return x if x.sum() > 0 else -x

    with pytest.raises(jax.errors.ConcretizationTypeError):
        check.layer(pn.layer(apply), pn.spec(3))


def test_overflow_is_told_and_infinity_alone_is_not():
    naive = pn.layer(lambda params, x: jnp.exp(x) / jnp.sum(jnp.exp(x)), name="naive")
    assert broken("extremes", naive, laws=("hand rule", "kinks", "extremes")).leaf == "y"
    report = check.layer(pn.layer(lambda params, x: jnp.exp(x), name="exp"), pn.spec(3), laws=("extremes",))
    assert report["extremes"].note == "inputs of ±10⁴ in float32; infinite: y, dx"


def test_a_gradient_that_is_nan_at_zero_is_told():
    net = pn.layer(lambda params, x: jnp.sqrt(jnp.sum(x * x)), name="length")
    failure = broken("kinks", net, laws=("hand rule", "kinks"))
    assert failure.leaf == "x"
    assert np.isnan(failure.got)
    assert "not finite where the slopes are" in failure.reason


def test_a_state_that_changes_its_dtype_is_told():
    def forward(params, xs, state, key):
        return xs, {"count": state["count"] + jnp.mean(xs).astype(jnp.float64)}

    def init(key, spec):
        return (), {"count": jnp.zeros((), jnp.float32)}

    net = pn.layer(lambda params, x, state: x, init=init, forward=forward, name="counting")
    with jax.numpy_dtype_promotion("standard"):
        assert check.layer(pn.layer(lambda params, x, state: x, init=init, name="still"), pn.spec(3)).held
        failure = broken("tree", net, laws=("tree",))
    assert failure.leaf == "state of vjp['count']"


@jax.custom_vjp
def _cube(x):
    return x**3


_cube.defvjp(lambda x: (x**3, x), lambda x, dy: (dy * 2 * x**2,))


def test_a_wrong_custom_vjp_is_told_wherever_it_stands():
    for where, laws in {"apply": {"apply's autodiff"}, "forward": {"hand rule", "forward's autodiff"}}.items():

        def plain(params, xs, state, key):
            return xs**3, state

        def wrong(params, xs, state, key):
            return _cube(xs), state

        net = pn.layer(
            lambda params, x, where=where: _cube(x) if where == "apply" else x**3,
            forward=plain if where == "apply" else wrong,
            name="cube",
        )
        with pytest.raises(check.CheckError) as caught:
            check.layer(net, pn.spec(3), laws=("hand rule", "forward's autodiff", "apply's autodiff"))
        failures = caught.value.report.failures
        assert {failure.law for failure in failures} == laws
        assert all(failure.reason.startswith("0.666667 times the gradient everywhere") for failure in failures)


def test_a_right_gradient_with_a_wrong_second_derivative_is_told():
    @jax.custom_vjp
    def cube(x):
        return x**3

    cube.defvjp(lambda x: (x**3, jax.lax.stop_gradient(x)), lambda x, dy: (dy * jax.lax.stop_gradient(3 * x**2),))
    failure = broken("second order", lambda x: cube(x))
    assert failure.reason.startswith("The derivative of the gradient is wrong")


def test_trees_of_inputs_with_whole_numbers_and_no_floats():
    def apply(params, x):
        return {"y": params["table"][x["word"]] * x["value"], "word": x["word"]}

    def init(key, spec):
        return {"table": jnp.ones(2, spec["value"].dtype)}, ()

    net = pn.layer(apply, init=init, name="mixed")
    report = check.layer(
        net,
        {"word": pn.spec((), jnp.int32), "value": pn.spec(())},
        laws=("values", "hand rule", "tree", "dtype", "key"),
    )
    assert report.held
    report = check.layer(pn.layer(lambda params, x: x + 1, name="next"), pn.spec((2,), jnp.int32))
    assert report["hand rule"].note == "no floating numbers go in, or none come out"
    assert report.held


def test_a_large_layer_is_measured_at_some_coordinates_and_one_wrong_entry_is_seen():
    net = pn.dense(400)
    report = check.layer(net, pn.spec(400), laws=("hand rule",))
    assert " of 161600 coordinates, 1 draw, against finite differences" in report["hand rule"].note

    def vjp(params, xs, state, key):
        ys, new, pullback = net.vjp(params, xs, state, key)

        def changed(dys):
            dp, dx = pullback(dys)
            return {**dp, "kernel": dp["kernel"].at[123, 345].mul(2.0)}, dx

        return ys, new, changed

    wrong = pn.layer(net.apply, init=net.init, forward=net.forward, vjp=vjp, name="dense")
    failure = broken("hand rule", wrong, spec=pn.spec(400), laws=("hand rule", "forward's autodiff"))
    assert (failure.leaf, failure.coordinate) == ("params['kernel']", (123, 345))


def test_the_same_key_draws_the_same_and_another_key_others():
    first, again = (check.layer(pn.dense(2), pn.spec(2), laws=("hand rule",)) for _ in range(2))
    other = check.layer(pn.dense(2), pn.spec(2), laws=("hand rule",), key=jax.random.key(5))
    np.testing.assert_array_equal(first.measured["x"], again.measured["x"])
    assert not np.array_equal(first.measured["x"], other.measured["x"])


def test_wrong_arguments_are_refused():
    with refuses(
        pn.StructureError,
        "check.layer: expected a layer or a function of one example, got 3. Give layers as "
        "separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ):
        check.layer(3, pn.spec(2))
    with refuses(
        pn.StructureError,
        "dense: expected the spec of one example, got 2. Pass pn.spec(784), pn.spec((28, 28)) or a tree of such.",
    ):
        check.layer(pn.dense(2), 2)
    with refuses(pn.ShapeError, "check.layer: expected batch of 1 or more, got 0. Give a larger int."):
        check.layer(pn.dense(2), pn.spec(2), batch=0)
    with refuses(pn.StructureError, "check.layer: expected draws to be a whole number, got 2.5. Give an int."):
        check.layer(pn.dense(2), pn.spec(2), draws=2.5)
    with refuses(
        pn.StructureError, "check.layer: expected inputs to be a function of a key, got 3. It draws one example."
    ):
        check.layer(pn.dense(2), pn.spec(2), inputs=3)
    with refuses(
        pn.StructureError,
        "check.layer: expected inputs to give x of shape (2,), that of the spec, got (3,). Draw one example.",
    ):
        check.layer(pn.dense(2), pn.spec(2), inputs=lambda key: jnp.zeros(3))
    with refuses(
        pn.StructureError, "check.layer: expected skip to be a tuple of laws' names, got 'jit'. Such as ('hand rule',)."
    ):
        check.layer(pn.dense(2), pn.spec(2), skip="jit")
    with pytest.raises(pn.ShapeError, match=r"check.layer: expected laws to name some of .*, got .speed."):
        check.layer(pn.dense(2), pn.spec(2), laws=("speed",))


def test_a_layer_with_a_domain_needs_inputs():
    log = pn.layer(lambda params, x: jnp.log(x), name="log")
    failure = broken("hand rule", log, laws=("hand rule",))
    assert failure.reason.startswith("The function is not defined there: draw from its domain, with inputs=")

    def inputs(key):
        return jax.random.uniform(key, (3,), minval=0.1)

    assert check.layer(log, pn.spec(3), inputs=inputs, laws=("hand rule",)).held


def test_a_rule_that_is_not_finite_where_nothing_is_defined_is_not_blamed():
    report = check.layer(pn.weight_norm(pn.dense(2)), pn.spec(3), laws=("hand rule", "forward's autodiff", "kinks"))
    assert report.held


def test_plain_functions_scalars_and_empty_arrays():
    assert check.layer(jnp.tanh, pn.spec(()), laws=("hand rule", "jit", "tree", "extremes")).held
    report = check.layer(jnp.sin, pn.spec((2, 0)), laws=("hand rule", "values", "dtype"))
    assert report["hand rule"].held is None


def test_rounding_that_a_layer_magnifies_is_not_blamed():
    # Equal inputs have variance 0, and 1/√ε magnifies their rounding 316 times.
    laws = ("hand rule", "forward's autodiff")
    assert check.layer(pn.batch_norm(), pn.spec((2, 2, 2)), laws=laws, draws=2, key=jax.random.key(11)).held
