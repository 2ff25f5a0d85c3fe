"""Hypothesis strategies: shapes, ranges and dtypes as told, and shrinking towards simple values."""

import subprocess
import sys

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from refusals import refuses

import purenet as pn
from purenet.check import strategies

settings = hypothesis.settings(
    max_examples=25, derandomize=True, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
)
NET = pn.serial(pn.dense(2), pn.tanh)


@settings
@hypothesis.given(strategies.specs(min_rank=1, max_rank=2, max_size=3, dtypes=(jnp.float32, jnp.int32)))
def test_specs_stay_within_their_bounds(spec):
    assert 1 <= len(spec.shape) <= 2
    assert all(1 <= size <= 3 for size in spec.shape)
    assert spec.dtype in (jnp.float32, jnp.int32)


@settings
@hypothesis.given(st.data())
def test_params_and_batches_fit_the_layer(data):
    spec = data.draw(strategies.specs(min_rank=1, max_rank=1))
    params = data.draw(strategies.params(NET, spec))
    xs = data.draw(strategies.batches(spec, min_size=2, max_size=3))
    assert 2 <= len(xs) <= 3
    assert xs.shape[1:] == spec.shape
    assert jax.vmap(NET.apply, (None, 0))(params, xs).shape == (len(xs), 2)
    for leaf in jax.tree.leaves((params, xs)):
        assert leaf.dtype == jnp.float32
        assert np.all(np.abs(leaf) <= 3)


@settings
@hypothesis.given(strategies.batches((pn.spec(2), pn.spec((), jnp.int32), pn.spec((), bool)), classes=3, low=0, high=1))
def test_batches_of_trees_with_labels_and_flags(batch):
    xs, labels, flags = batch
    assert len(xs) == len(labels) == len(flags)
    assert labels.dtype == jnp.int32
    assert set(np.asarray(labels).tolist()) <= {0, 1, 2}
    assert flags.dtype == bool
    assert np.all((xs >= 0) & (xs <= 1))


@settings
@hypothesis.given(strategies.params(NET, pn.spec(2), dtype=jnp.bfloat16))
def test_dtypes_are_a_choice(params):
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype(jnp.bfloat16)}


def find(strategy, condition):
    return hypothesis.find(strategy, condition, settings=settings, random=None)


def test_they_shrink_towards_small_shapes_and_simple_values():
    assert find(strategies.specs(), lambda spec: True).shape == ()
    assert find(strategies.specs(), lambda spec: len(spec.shape) > 1).shape == (1, 1)
    assert find(strategies.batches(pn.spec(2)), lambda xs: True).tolist() == [[0.0, 0.0]]
    params = find(strategies.params(pn.dense(1), pn.spec(2)), lambda params: float(params["bias"][0]) > 1)
    assert params["kernel"].tolist() == [[0.0], [0.0]]
    assert params["bias"].tolist() == [2.0]


def test_without_hypothesis_the_check_imports_and_the_strategies_say_what_to_install():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "import purenet.check\n"
        "try:\n    import purenet.check.strategies\n"
        "except ModuleNotFoundError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "purenet.check.strategies: expected Hypothesis to be installed, got none. Install it: pip install hypothesis.\n"
    )


def test_wrong_arguments_are_refused():
    with refuses(pn.ShapeError, "specs: expected max_rank of 2 or more, got 1. Give a larger int."):
        strategies.specs(min_rank=2, max_rank=1)
    with refuses(pn.StructureError, "specs: expected max_size to be a whole number, got 2.5. Give an int."):
        strategies.specs(max_size=2.5)
    with refuses(pn.ShapeError, "specs: expected dtypes to choose from, got none. Such as (jnp.float32,)."):
        strategies.specs(dtypes=())
    with refuses(pn.ShapeError, "batches: expected high above low, got low=1.0 and high=1.0. Exchange them."):
        strategies.batches(pn.spec(2), low=1.0, high=1.0)
    with refuses(pn.StructureError, "batches: expected the spec of one example, got 2. Pass pn.spec(784)."):
        strategies.batches(2)
    with refuses(
        pn.StructureError,
        "params: expected a layer or a function of one example, got 2. Give layers as separate arguments, such as "
        "pn.serial(pn.dense(3), pn.relu).",
    ):
        strategies.params(2, pn.spec(2))
