"""trace at its edges: loops of no turns, constants that are no numbers, long results, and arguments that are none."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import purenet as pn
from purenet.insight.showing import fitted
from purenet.insight.tracing import trace


def test_loops_of_no_turns_give_back_what_they_carry():
    found = trace(lambda x: jax.lax.while_loop(lambda s: s > 100.0, lambda s: s * 2.0, x), 2.0)
    assert (float(found.value), float(found.gradients[0]), found.notes) == (2.0, 1.0, ())
    found = trace(lambda x, vs: jax.lax.scan(lambda c, v: (c * v, None), x, vs)[0] * 3.0, 2.0, jnp.zeros(0))
    assert (float(found.value), float(found.gradients[0]), found.notes) == (6.0, 3.0, ())


def test_mapped_while_loops_each_stop_by_themselves():
    def power(x, n):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, s[1] * x), (0, 1.0))[1]

    found = trace(lambda x, n: jnp.sum(jax.vmap(power)(x, n)), jnp.array([2.0, 3.0]), jnp.array([3, 1]))
    assert (float(found.value), found.gradients[0].tolist()) == (11.0, [12.0, 1.0])


def test_a_nan_in_one_of_several_while_loops_is_found_in_its_turn():
    def down(x, n):
        return jax.lax.while_loop(lambda s: s[0] < n, lambda s: (s[0] + 1, jnp.log(s[1])), (0, x))[1]

    bad = trace(lambda x, n: jax.vmap(down)(x, n), jnp.array([0.5, 0.5]), jnp.array([1, 3])).bad
    assert (bad.operation, bad.place, bad.element) == ("log", ("while[1]",), (1,))
    assert bad.text.startswith("return jax.lax.while_loop(")


def test_what_a_loop_of_no_turns_stacks_is_empty():
    found = trace(lambda x, vs: jnp.sum(jax.lax.scan(lambda c, v: (c * v, c), x, vs)[1]) + x, 2.0, jnp.zeros(0))
    assert (float(found.value), float(found.gradients[0]), found.notes) == (2.0, 1.0, ())


HELD = np.array([1.0, np.nan], np.float32)


def test_a_result_that_is_a_constant_nan_raises_the_alarm():
    assert str(trace(lambda x: jnp.nan, 1.0).bad) == (
        "first NaN: constant (forward pass)\n  a constant that the program holds is no number: look where it was made."
    )
    bad = trace(lambda x: HELD, 1.0).bad
    assert (bad.operation, bad.element) == ("constant", (1,))
    assert trace(lambda x: jnp.inf, 1.0).bad is None


def test_a_nan_that_the_program_holds_is_called_a_constant():
    bad = trace(lambda x: jnp.sum(x * HELD), 1.0).bad
    assert (bad.operation, bad.element) == ("mul", (1,))
    assert bad.hint == "a constant that the program holds is no number: look where it was made."


def test_a_nan_that_a_choice_takes_may_be_meant():
    bad = trace(lambda x: jnp.where(x > 0.0, jnp.nan, x), 1.0).bad
    assert bad.hint == "a number of your choice that is none: purenet's losses give NaN for targets out of range, too."


def test_a_harmless_nan_of_an_argument_is_named():
    found = trace(lambda x: jnp.sum(jnp.where(jnp.isnan(x), 0.0, x)), HELD)
    assert found.bad is None
    assert found.notes == ("NaN in argument x reaches no result and no gradient.",)


def test_a_nan_that_a_library_holds_is_no_harm_to_tell():
    assert trace(lambda x: jnp.median(x), jnp.array([2.0, 1.0, 3.0])).notes == ()


def test_whole_numbers_in_a_program_are_shown_without_their_dtype():
    found = trace(lambda x: jnp.zeros(2, jnp.int32) + 3 * x, 2)
    assert [row.inputs for row in found.rows[1:3]] == [("0",), ("3", "x")]


def test_a_row_that_a_mask_hides_altogether_has_a_hint():
    scores = jnp.array([[1.0, 2.0], [-jnp.inf, -jnp.inf]])
    bad = trace(lambda s: jnp.sum(jax.nn.softmax(s)), scores).bad
    assert (bad.operation, bad.element) == ("sub", (1, 0))
    assert bad.hint.startswith("-infinity minus -infinity: jax.nn.softmax of a row that a mask of -inf hides")


def test_an_index_out_of_range_has_a_hint():
    assert trace(lambda x: jnp.take(x, 5), jnp.ones(2)).bad.hint.startswith("an index out of range, ")


def test_many_results_and_long_hints_stay_within_120_columns():
    found = trace(lambda x: [x * i for i in range(12)], 1.0)
    text = str(found)
    assert text.startswith("lambda = 0, 1, 2, 3, 4, 5, 6, 7, … (12 arrays)\n")
    bad = trace(lambda x: jnp.sum(jnp.where(x > 0.0, jnp.log(x), 0.0)), jnp.array([1.0, 0.0]))
    assert max(map(len, str(bad).splitlines())) <= 120
    assert fitted("  one two three", 12) == "  one two\n    three"
    assert fitted("short\n  lines stay") == "short\n  lines stay"


BIND = "Bind it first: pn.trace(lambda x: fn(x, option), x)."


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        (
            pn.spec(3),
            pn.StructureError,
            f"trace: expected arguments of arrays and numbers, got a spec, float32 of shape (3,). {BIND}",
        ),
        (
            np.array(["a"]),
            pn.StructureError,
            f"trace: expected arguments of arrays and numbers, got <U1 of shape (1,). {BIND}",
        ),
        (
            2**40,
            pn.ShapeError,
            "trace: expected whole numbers that int32 holds, got 1099511627776. Give a smaller one, or a float.",
        ),
    ],
    ids=["spec", "text", "large"],
)
def test_arguments_that_jax_does_not_take_are_refused(argument, error, message):
    with pytest.raises(error, match="^" + re.escape(message) + "$"):
        trace(lambda x: x * 2, argument)
