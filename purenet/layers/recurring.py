"""Recurrent layers: rnn, lstm and gru, a state that moves from step to step."""

import math

import jax
import numpy as np

from purenet.contract import Layer
from purenet.errors import ShapeError, StructureError, describe
from purenet.layers.cells import ACTIVATIONS, GRU, LSTM, elman
from purenet.layers.sequences import expect_choice
from purenet.layers.unrolled import Initializer, Inits, orthogonal, recurrent

_GLOROT = jax.nn.initializers.glorot_uniform()
_ZEROS = jax.nn.initializers.zeros


def rnn(
    features: int,
    *,
    activation: str = "tanh",
    outputs: str = "all",
    lengths: bool = False,
    carry: bool = False,
    bias: bool = True,
    kernel_init: Initializer = _GLOROT,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = _ZEROS,
) -> Layer:
    """Simple recurrent layer, hₜ = φ(xₜ W + hₜ₋₁ U + b), from h₀ = 0.

    Args:
      features: the number h of outputs of a step, 1 or more.
      activation: φ, one of "tanh", "relu", "sigmoid", "identity".
      outputs: "all" for h₁ … h_T, shape (T, h); "last" for h_T alone, shape (h,).
      lengths: whether the input is `(x, length)` with an int32 of 1 to T for each example. Steps beyond the length
        are not looked at: the state stays, the outputs are zero, and the last output is that of the length's step.
        A length out of range gives NaN; outside of jit and vmap, where it can be seen, it is refused.
      carry: whether the input ends with the initial state, `(x, h)` or `(x, length, h)`, and the output is `(y, h)`
        with the final one: for sampling step by step, and for sequences that are learned from in pieces (gradients
        then end at each piece's beginning unless the pieces are differentiated together).
      bias: whether b is there.
      kernel_init: makes W, shape (n, h), from a key.
      recurrent_init: makes U, shape (h, h); orthogonal unless told.
      bias_init: makes b, shape (h,).

    Returns:
      A layer from shape (T, n), in the dtype of its spec; params `{"kernel": W, "recurrent": U, "bias": b}`.

    Raises:
      ShapeError: if `features` is below 1, or `activation` or `outputs` is another word; at trace time, if x has not
        T steps of n numbers with T of 1 or more, or length or carry have another shape.
      StructureError: if an argument has another type; at trace time, for other dtypes, other params, or an input that
        is not such a tuple.

    Derivation:
      Back-propagation through time. With aₜ = xₜ W + hₜ₋₁ U + b, what arrives at hₜ is εₜ = dJ/dyₜ + δₜ₊₁ Uᵀ, and
      δₜ = εₜ ∘ φ'(aₜ), where φ' follows from hₜ: 1 - hₜ² for tanh, hₜ (1 - hₜ) for sigmoid, [hₜ > 0] for relu (0 at
      0). The same W, U, b work at every step, so their gradients sum over t: dJ/dW = Σ xₜᵀ δₜ, dJ/dU = Σ hₜ₋₁ᵀ δₜ,
      dJ/db = Σ δₜ, each one matrix product over all steps and examples after the scan; dJ/dxₜ = δₜ Wᵀ and
      dJ/dh₀ = δ₁ Uᵀ. Beyond the length δₜ = 0 and εₜ passes on as it is.

    References:
      Elman (1990), Finding structure in time.
      Werbos (1990), Backpropagation through time: what it does and how to do it.
      Saxe, McClelland and Ganguli (2014), Exact solutions to the nonlinear dynamics of learning in deep linear neural
      networks, on orthogonal matrices.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.rnn(3)
      >>> params, state = net.init(jax.random.key(0), pn.spec((7, 2)))
      >>> jax.tree.map(lambda a: a.shape, params)
      {'bias': (3,), 'kernel': (2, 3), 'recurrent': (3, 3)}
      >>> net.apply(params, jnp.ones((7, 2))).shape
      (7, 3)
      >>> last = pn.rnn(3, outputs="last", lengths=True)
      >>> last.apply(params, (jnp.ones((7, 2)), jnp.int32(4))).shape
      (3,)
    """
    expect_choice("rnn", "activation", activation, tuple(ACTIVATIONS))
    init = Inits(kernel_init, recurrent_init, bias_init)
    return recurrent(elman(activation), features, outputs, lengths, carry, bias, init)


def lstm(
    features: int,
    *,
    outputs: str = "all",
    lengths: bool = False,
    carry: bool = False,
    bias: bool = True,
    forget_bias: float = 1.0,
    kernel_init: Initializer = _GLOROT,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = _ZEROS,
) -> Layer:
    """Long short-term memory, cₜ = fₜ ∘ cₜ₋₁ + iₜ ∘ gₜ and hₜ = oₜ ∘ tanh(cₜ), from h₀ = c₀ = 0.

    Input, forget, output gate and candidate are blocks of one product, in the order i, f, g, o, as in PyTorch and in
    Keras (which writes c for g): (i, f, g, o) = (σ, σ, tanh, σ)(xₜ W + hₜ₋₁ U + b). PyTorch's two biases are one here,
    their sum.

    Args:
      features: the number h of outputs of a step, 1 or more.
      outputs: "all" for h₁ … h_T, shape (T, h); "last" for h_T alone, shape (h,).
      lengths: whether the input is `(x, length)`, as in `rnn`.
      carry: whether the input ends with the initial carry, a tuple (h, c) of arrays of shape (h,), and the output is
        `(y, (h, c))` with the final one, as in `rnn`.
      bias: whether b is there.
      forget_bias: what is added to b's forget gate at the start, a Python number. 1 by default, as in Keras, so that
        the memory lasts before anything is learned; PyTorch starts at 0.
      kernel_init: makes W one gate at a time, shape (n, h) each, from a key: the fans are those of one gate.
      recurrent_init: makes U one gate at a time, shape (h, h) each; orthogonal unless told.
      bias_init: makes b, shape (4h,), to which `forget_bias` is added.

    Returns:
      A layer from shape (T, n), in the dtype of its spec; params `{"kernel": W, "recurrent": U, "bias": b}` of shapes
      (n, 4h), (h, 4h), (4h,).

    Raises:
      ShapeError: if `features` is below 1, `outputs` is another word or `forget_bias` not finite; at trace time, if x
        has not T steps of n numbers with T of 1 or more, or length or carry have another shape.
      StructureError: if an argument has another type; at trace time, for other dtypes, other params, or an input that
        is not such a tuple.

    Derivation:
      Back-propagation through time. What arrives at hₜ is ε = dJ/dyₜ + δₜ₊₁ Uᵀ, at cₜ it is
      γₜ = γₜ₊₁ ∘ fₜ₊₁ + ε ∘ oₜ ∘ (1 - tanh²(cₜ)). With σ' = σ (1 - σ) and tanh' = 1 - tanh² the gates' sums get
      δᵢ = γ ∘ g ∘ i (1 - i), δ_f = γ ∘ cₜ₋₁ ∘ f (1 - f), δ_g = γ ∘ i ∘ (1 - g²), δₒ = ε ∘ tanh(cₜ) ∘ o (1 - o).
      All that multiplies γ and ε is known on the way forward, and stored there in place of the gates. With δₜ the
      four side by side, dJ/dW = Σ xₜᵀ δₜ, dJ/dU = Σ hₜ₋₁ᵀ δₜ, dJ/db = Σ δₜ, dJ/dxₜ = δₜ Wᵀ, as in `rnn`.

    References:
      Hochreiter and Schmidhuber (1997), Long short-term memory.
      Gers, Schmidhuber and Cummins (2000), Learning to forget: continual prediction with LSTM.
      Jozefowicz, Zaremba and Sutskever (2015), An empirical exploration of recurrent network architectures, section
      2.2, on the forget gate's bias of 1.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.lstm(3, carry=True)
      >>> start = (pn.spec(3), pn.spec(3))
      >>> params, state = net.init(jax.random.key(0), (pn.spec((7, 2)), start))
      >>> jax.tree.map(lambda a: a.shape, params)
      {'bias': (12,), 'kernel': (2, 12), 'recurrent': (3, 12)}
      >>> y, (h, c) = net.apply(params, (jnp.ones((7, 2)), (jnp.zeros(3), jnp.zeros(3))))
      >>> y.shape, bool(jnp.all(y[-1] == h))
      ((7, 3), True)
    """
    if isinstance(forget_bias, bool) or not isinstance(forget_bias, (int, float, np.integer, np.floating)):
        raise StructureError(
            f"lstm: expected forget_bias to be a Python number, got {describe(forget_bias)}. Give one such as 1.0."
        )
    if not math.isfinite(forget_bias):
        raise ShapeError(f"lstm: expected a finite forget_bias, got {forget_bias}. Give one such as 1.0.")
    init = Inits(kernel_init, recurrent_init, bias_init, float(forget_bias))
    return recurrent(LSTM, features, outputs, lengths, carry, bias, init)


def gru(
    features: int,
    *,
    outputs: str = "all",
    lengths: bool = False,
    carry: bool = False,
    bias: bool = True,
    kernel_init: Initializer = _GLOROT,
    recurrent_init: Initializer = orthogonal,
    bias_init: Initializer = _ZEROS,
) -> Layer:
    """Gated recurrent unit, hₜ = (1 - z) ∘ n + z ∘ hₜ₋₁, from h₀ = 0.

    Reset gate, update gate and candidate, in the order r, z, n: r = σ(xW_r + hU_r + b_r), z = σ(xW_z + hU_z + b_z),
    n = tanh(xW_n + b_n + r ∘ (hU_n + d)). The reset gate multiplies after the product, as in cuDNN, PyTorch and
    Keras (reset_after=True), with a second bias d inside; Cho's multiplies hₜ₋₁ before it. Those libraries keep a
    second bias for r and z, too, which only adds to the first: load their sums. Keras orders z, r, n.

    Args:
      features: the number h of outputs of a step, 1 or more.
      outputs: "all" for h₁ … h_T, shape (T, h); "last" for h_T alone, shape (h,).
      lengths: whether the input is `(x, length)`, as in `rnn`.
      carry: whether the input ends with the initial state, and the output with the final one, as in `rnn`.
      bias: whether b and d are there.
      kernel_init: makes W one gate at a time, shape (n, h) each, from a key: the fans are those of one gate.
      recurrent_init: makes U one gate at a time, shape (h, h) each; orthogonal unless told.
      bias_init: makes b, shape (3h,), and d, shape (h,).

    Returns:
      A layer from shape (T, n), in the dtype of its spec; params `{"kernel": W, "recurrent": U, "bias": b,
      "recurrent_bias": d}` of shapes (n, 3h), (h, 3h), (3h,), (h,).

    Raises:
      ShapeError: if `features` is below 1, or `outputs` is another word; at trace time, if x has not T steps of n
        numbers with T of 1 or more, or length or carry have another shape.
      StructureError: if an argument has another type; at trace time, for other dtypes, other params, or an input that
        is not such a tuple.

    Derivation:
      Back-propagation through time. With q = hₜ₋₁ U_n + d and what arrives at hₜ, ε: δ_n = ε ∘ (1 - z) ∘ (1 - n²),
      δ_z = ε ∘ (hₜ₋₁ - n) ∘ z (1 - z), δ_r = δ_n ∘ q ∘ r (1 - r), and at q it is δ_q = δ_n ∘ r. Backward,
      εₜ₋₁ = dJ/dyₜ₋₁ + ε ∘ z + (δ_r, δ_z, δ_q) Uᵀ. Then dJ/dW = Σ xₜᵀ (δ_r, δ_z, δ_n), dJ/db = Σ (δ_r, δ_z, δ_n),
      dJ/dU = Σ hₜ₋₁ᵀ (δ_r, δ_z, δ_q), dJ/dd = Σ δ_q, dJ/dxₜ = (δ_r, δ_z, δ_n) Wᵀ, as in `rnn`.

    References:
      Cho, van Merriënboer, Gulcehre, Bahdanau, Bougares, Schwenk and Bengio (2014), Learning phrase representations
      using RNN encoder-decoder for statistical machine translation, eqs. 5-8.
      Chung, Gulcehre, Cho and Bengio (2014), Empirical evaluation of gated recurrent neural networks.

    Example:
      >>> import jax, jax.numpy as jnp, purenet as pn
      >>> net = pn.serial(pn.gru(4), pn.gru(3, outputs="last"), pn.dense(1))
      >>> params, state = net.init(jax.random.key(0), pn.spec((7, 2)))
      >>> jax.tree.map(lambda a: a.shape, params[0])
      {'bias': (12,), 'kernel': (2, 12), 'recurrent': (4, 12), 'recurrent_bias': (4,)}
      >>> net.apply(params, jnp.ones((7, 2))).shape
      (1,)
    """
    init = Inits(kernel_init, recurrent_init, bias_init)
    return recurrent(GRU, features, outputs, lengths, carry, bias, init)
