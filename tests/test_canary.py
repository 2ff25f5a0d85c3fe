"""Programs that known-broken compilers get wrong; if one fails here, change the JAX release before anything else."""

import jax
import jax.numpy as jnp
import numpy as np


def test_vmapped_products_then_squares_are_summed_right():
    """jaxlib 0.10.2 is wrong by 0.8 % here on CPU (jax-ml/jax#39103)."""
    rows = np.zeros((32_769, 3), np.float32)
    rows[:, 0] = np.arange(len(rows))
    got = jax.jit(jax.vmap(lambda row: jnp.sum(jnp.square(jnp.eye(3) @ row))))(rows)
    np.testing.assert_allclose(got, np.sum(np.square(rows, dtype=np.float64), axis=1), rtol=1e-6)


def test_products_of_rank_seven_are_reduced_without_a_crash():
    """jaxlib 0.10.2 and 0.11.0 crash here on CPU (jax-ml/jax#39257, #40412)."""
    rng = np.random.default_rng(0)
    one, other = (rng.normal(size=(3, 1, 2, 2, 8, 8, 8)).astype(np.float32) for _ in range(2))
    got = jax.jit(lambda a, b: jnp.sum(a * b, axis=3))(one, other)
    np.testing.assert_allclose(got, np.sum(one * other, axis=3), atol=1e-5)
