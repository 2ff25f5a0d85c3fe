"""Right functions of users that a check must not blame, and wrong ones that it must not miss."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from refusals import refuses

import purenet as pn
from purenet import check


def test_a_custom_vjp_whose_forward_rule_calls_itself_is_not_blamed():
    """As in JAX's own manual; forward mode over it raises, backwards twice does not."""

    @jax.custom_vjp
    def wave(x):
        return jnp.sin(x) * x

    wave.defvjp(lambda x: (wave(x), x), lambda x, dy: (dy * (jnp.cos(x) * x + jnp.sin(x)),))
    report = check.grad(wave, 0.7)
    assert report["second order"].held


def _counting(share):
    def vjp(params, xs, state, key):
        return 2 * xs, 0.9 * state + share * jnp.mean(xs, axis=0), lambda dys: ((), 2 * dys)

    return pn.layer(
        lambda params, x, state: 2 * x,
        init=lambda key, spec: ((), jnp.zeros(spec.shape, spec.dtype)),
        forward=lambda params, xs, state, key: (2 * xs, 0.9 * state + 0.1 * jnp.mean(xs, axis=0)),
        vjp=vjp,
        name="counting",
    )


def test_a_state_that_only_vjp_has_wrong_is_told():
    assert check.layer(_counting(0.1), pn.spec(2), laws=("values",)).held
    with pytest.raises(check.CheckError) as caught:
        check.layer(_counting(0.11), pn.spec(2), laws=("values",))
    assert caught.value.report.failures[0].leaf == "state"


def test_what_has_no_half_precision_and_what_names_no_dtype_is_not_blamed():
    report = check.layer(lambda x: jnp.abs(jnp.fft.rfft(x)), pn.spec(4), laws=("dtype",))
    assert report["dtype"].note.endswith("it raises for bfloat16 and float16")
    net = pn.layer(lambda params, x: x * params.astype(x.dtype), init=lambda key, spec: (jnp.ones(2), ()), name="ones")
    with pytest.raises(check.CheckError) as caught:
        check.layer(net, pn.spec(2), laws=("dtype",))
    assert all(failure.expected != "float32" for failure in caught.value.report.failures)


def test_complex_numbers_and_strange_places_are_refused():
    message = (
        "check.layer: expected lambda to take and give real numbers, got complex128 of shape (3, 3). "
        "Check its real and imaginary parts, such as jnp.stack((y.real, y.imag))."
    )
    with refuses(pn.StructureError, message):
        check.layer(lambda x: jnp.fft.rfft(x), pn.spec(4), laws=("values",))
    with refuses(pn.StructureError, "check.grad: expected argnums to be ints, got 1.5. Give places, such as (0, 1)."):
        check.grad(jnp.sin, 1.0, argnums=1.5)


def test_a_session_without_jit_checks_the_same():
    with jax.disable_jit():
        assert check.grad(lambda x: jnp.sum(x**2), np.ones(2)).held


def test_one_mistake_that_breaks_several_laws_is_told_once():
    failures = [
        check.Failure(law, "", None, "a result", "an error", "It raised E.") for law in ("values", "jit", "scan")
    ]
    report = check.CheckReport("it", tuple(check.LawResult(f.law, False, None, "", (f,)) for f in failures))
    first, second, *laws = str(report).splitlines()
    assert first == "it keeps 0 laws and breaks 3"
    assert second == "  values: expected a result, got an error. It raised E. The same in: jit, scan."
    assert len(laws) == 3
