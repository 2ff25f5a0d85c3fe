"""The first NaN or infinity is found at the line that made it, and healthy programs raise no alarm."""

import inspect
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from insight import healthy_programs, planted_inside, planted_operations
from insight.planting import CASES, HEALTHY

from purenet.insight.tracing import trace

LINES = {
    module.__file__: pathlib.Path(module.__file__).read_text().splitlines()
    for module in (planted_operations, planted_inside)
}


def guilty_place(name, fn):
    """File and number of the line that says `# here`, or `# here: name` outside the function."""
    file = inspect.getsourcefile(fn)
    marked = [i for i, line in enumerate(LINES[file], 1) if line.endswith(f"# here: {name}")]
    if marked:
        return file, marked[0]
    lines, start = inspect.getsourcelines(fn)
    return file, next(start + i for i, line in enumerate(lines) if line.rstrip().endswith("# here"))


def test_there_are_enough_of_both():
    assert len(CASES) >= 30
    assert len(HEALTHY) >= 14


PLACES = {
    "inside_scan": ("scan[3]",),
    "inside_long_scan": ("scan[70000]",),
    "inside_reversed_scan": ("scan[2]",),
    "inside_jit": ("jit inner",),
    "inside_cond": ("cond branch 0",),
    "inside_while": ("while[5]",),
    "one_of_two_carried": ("scan[1]",),
    "taken_in_one_turn_alone": ("scan[1]",),
    "ratio_by_rule": ("custom_vjp ratio",),
}
LAYERS = {
    "inside_a_layer": "serial[1].lambda",
    "inside_a_train_step": "serial[2].normalised",
    "inside_a_repeat": "serial[1].repeat[0].residual[0].logs",
}


@pytest.mark.parametrize("name", CASES)
def test_planted_ones_are_found_at_their_line(name):
    fn, args, kind, direction = CASES[name]
    bad = trace(fn, *args).bad
    assert bad is not None
    assert ((bad.file, bad.line), bad.kind, bad.direction) == (guilty_place(name, fn), kind, direction)
    assert bad.text == LINES[bad.file][bad.line - 1].strip()
    assert bad.place == PLACES.get(name, bad.place)
    assert bad.layer == LAYERS.get(name, "")
    assert (np.isnan if kind == "nan" else np.isinf)(np.asarray(bad.value, np.float64)[bad.element])


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_ones_raise_no_alarm(name):
    fn, args = HEALTHY[name]
    found = trace(fn, *args)
    assert found.bad is None
    assert "first" not in str(found).splitlines()[1]


def test_of_many_values_the_first_bad_one_is_shown():
    bad = trace(*_case("inside_vmap")).bad
    assert bad.element == (2,)
    assert str(bad).splitlines()[2] == "  div of 0, 0 gave nan at [2]"


def test_the_origin_and_where_it_became_nan_are_told_in_full():
    bad = trace(*_case("infinity_minus_infinity")).bad
    file, line = guilty_place("infinity_minus_infinity", planted_operations.infinity_minus_infinity)
    assert bad.then.operation == "sub"
    assert str(bad) == (
        f"first infinity: exp (forward pass), at {file}:{line}, in infinity_minus_infinity\n"
        "  big = jnp.exp(x)  # here\n"
        "  exp of 100 gave inf at [0]\n"
        f"  it became NaN in sub (forward pass), at {file}:{line + 2}, in infinity_minus_infinity\n"
        "    return jnp.sum(big - other)\n"
        "  exp overflows: subtract the largest operand first, as jax.nn.softmax and jax.nn.logsumexp do."
    )


def test_an_argument_that_is_nan_already_is_named():
    params = {"w": np.array([[1.0, 2.0], [np.nan, 3.0]], np.float32)}
    bad = trace(lambda params, x: jnp.sum(params["w"] @ x), params, np.ones(2, np.float32)).bad
    assert (bad.operation, bad.argument, bad.element, bad.kind) == ("argument", "params['w']", (1, 0), "nan")
    assert str(bad) == (
        "first NaN: argument params['w'][1, 0] (forward pass)\n"
        "  it is no number before anything is computed: look where it comes from."
    )


def test_an_infinite_argument_is_named_if_it_reaches_the_result():
    bad = trace(lambda x: 2.0 * x, np.float32(np.inf)).bad
    assert (bad.argument, bad.kind) == ("x", "inf")


def test_a_nan_that_the_program_holds_is_found_where_it_comes_in():
    held = np.array([1.0, np.nan], np.float32)

    def fn(x):
        return jnp.sum(x * held)

    bad = trace(fn, np.ones(2, np.float32)).bad
    assert (bad.operation, bad.element, bad.text) == ("mul", (1,), "return jnp.sum(x * held)")


def test_the_second_bad_turn_of_a_loop_is_not_blamed():
    def fn(x):
        def body(c, i):
            return jnp.sqrt(c - i), jnp.log(jnp.where(i == 1, -1.0, 2.0))

        c, ys = jax.lax.scan(body, x, jnp.arange(4.0))
        return c + jnp.sum(ys)

    assert trace(fn, 1.0).bad.place == ("scan[1]",)


def test_jax_own_alarms_stay_silent():
    with jax.debug_nans(True):
        assert trace(jnp.log, -1.0).bad.operation == "log"


def test_a_nan_that_reaches_nothing_is_a_note():
    notes = trace(HEALTHY["unused_nan"][0], np.ones(2, np.float32)).notes
    line = inspect.getsourcelines(healthy_programs.unused_nan)[1] + 2
    assert notes == (f"NaN made by log in healthy_programs.py:{line} reaches no result and no gradient.",)


def test_operands_that_a_call_may_use_up_are_kept():
    fn = jax.jit(lambda x: jnp.log(x - x), donate_argnums=0)
    x = jnp.ones(3)
    assert trace(fn, x).bad.operation == "log"
    assert x.tolist() == [1.0, 1.0, 1.0]


def _case(name):
    return CASES[name][0], *CASES[name][1]
