"""Layers against Keras on its JAX backend: outputs, gradients and running statistics, with the same weights."""

import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers.agreement import BATCH, agree, cotangent, differentiated, draw, drawn_params, spec_of, trained

import purenet as pn

os.environ.setdefault("KERAS_BACKEND", "jax")
keras = pytest.importorskip("keras", reason="Keras is not installed: pip install purenet[peers]")
if keras.backend.backend() != "jax":
    pytest.skip("Keras runs on another backend than JAX", allow_module_level=True)
L = keras.layers
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64", "keras_float64")]


def plain(params):
    """Kernel, then bias, or scale, then offset."""
    names = ("kernel", "recurrent", "embedding", "scale", "bias", "offset")
    return [params[name] for name in names if name in params] if params else []


def of_channels(multiplier):
    """Keras has the multiplier as an axis of its own."""
    return lambda p: [p["kernel"].reshape(*p["kernel"].shape[:-2], -1, multiplier), *plain(p)[1:]]


def separable(params):
    deep, mixed = params
    return [deep["kernel"].reshape(*deep["kernel"].shape[:-2], -1, 2), mixed["kernel"], mixed["bias"]]


def swapped(params):
    return [jnp.swapaxes(params["kernel"], -1, -2), *plain(params)[1:]]


def gru(params):
    """Keras orders z, r, n, and has a second bias of all three."""
    h = params["recurrent"].shape[0]

    def turn(a):
        return jnp.concatenate([a[..., h : 2 * h], a[..., :h], a[..., 2 * h :]], axis=-1)

    second = jnp.concatenate([jnp.zeros(2 * h, params["bias"].dtype), params["recurrent_bias"]])
    return [turn(params["kernel"]), turn(params["recurrent"]), jnp.stack([turn(params["bias"]), second])]


def both(one):
    return lambda params: [*one(params[0]), *one(params[1])]


# ours, Keras's, the weights of ours as Keras orders them, the shape of one example
CASES = {
    "dense": (pn.dense(4), lambda: L.Dense(4), plain, (3,)),
    "each dense": (pn.each(pn.dense(4)), lambda: L.Dense(4), lambda p: plain(p[0]), (5, 3)),
    "conv1, causal": (
        pn.conv(4, 3, padding="causal", dilation=2),
        lambda: L.Conv1D(4, 3, padding="causal", dilation_rate=2),
        plain,
        (9, 3),
    ),
    "conv1, causal, stride": (
        pn.conv(4, 3, padding="causal", stride=2),
        lambda: L.Conv1D(4, 3, padding="causal", strides=2),
        plain,
        (9, 3),
    ),
    "conv2, same, stride 2": (
        pn.conv(4, (3, 3), stride=2),
        lambda: L.Conv2D(4, 3, strides=2, padding="same"),
        plain,
        (7, 8, 2),
    ),
    "conv2, same, stride 3, even": (
        pn.conv(4, (4, 2), stride=3),
        lambda: L.Conv2D(4, (4, 2), strides=3, padding="same"),
        plain,
        (8, 7, 2),
    ),
    "conv2, dilation": (
        pn.conv(4, (3, 2), dilation=(2, 3)),
        lambda: L.Conv2D(4, (3, 2), dilation_rate=(2, 3), padding="same"),
        plain,
        (6, 7, 2),
    ),
    "conv2, groups": (
        pn.conv(6, (3, 3), groups=2, padding="valid"),
        lambda: L.Conv2D(6, 3, groups=2),
        plain,
        (5, 6, 4),
    ),
    "conv3": (
        pn.conv(2, (2, 3, 2), stride=2),
        lambda: L.Conv3D(2, (2, 3, 2), strides=2, padding="same"),
        plain,
        (4, 5, 3, 2),
    ),
    "depthwise": (
        pn.depthwise_conv((3, 3), multiplier=2, stride=2),
        lambda: L.DepthwiseConv2D(3, depth_multiplier=2, strides=2, padding="same"),
        of_channels(2),
        (6, 7, 3),
    ),
    "separable": (
        pn.separable_conv(5, (3, 3), multiplier=2, stride=2),
        lambda: L.SeparableConv2D(5, 3, depth_multiplier=2, strides=2, padding="same"),
        separable,
        (6, 7, 3),
    ),
    "transpose1, same": (
        pn.conv_transpose(4, 4, stride=3),
        lambda: L.Conv1DTranspose(4, 4, strides=3, padding="same"),
        swapped,
        (5, 3),
    ),
    "transpose2, same": (
        pn.conv_transpose(4, (3, 4), stride=2),
        lambda: L.Conv2DTranspose(4, (3, 4), strides=2, padding="same"),
        swapped,
        (4, 5, 3),
    ),
    "transpose2, valid": (
        pn.conv_transpose(4, (3, 2), stride=2, padding="valid"),
        lambda: L.Conv2DTranspose(4, (3, 2), strides=2),
        swapped,
        (4, 5, 3),
    ),
    "max, same": (
        pn.max_pool((3, 3), stride=2, padding="same"),
        lambda: L.MaxPooling2D(3, strides=2, padding="same"),
        plain,
        (6, 7, 2),
    ),
    "max1": (pn.max_pool(2), lambda: L.MaxPooling1D(2), plain, (7, 2)),
    "mean, same": (
        pn.avg_pool((3, 2), stride=2, padding="same"),
        lambda: L.AveragePooling2D((3, 2), strides=2, padding="same"),
        plain,
        (6, 7, 2),
    ),
    "mean3": (pn.avg_pool((2, 2, 2)), lambda: L.AveragePooling3D(2), plain, (4, 5, 4, 2)),
    "global mean": (pn.global_avg_pool, lambda: L.GlobalAveragePooling2D(), plain, (4, 5, 3)),
    "global max": (pn.global_max_pool, lambda: L.GlobalMaxPooling2D(), plain, (4, 5, 3)),
    "upsample": (pn.upsample((2, 3)), lambda: L.UpSampling2D((2, 3)), plain, (3, 4, 2)),
    "upsample, linear": (
        pn.upsample((2, 3), "linear"),
        lambda: L.UpSampling2D((2, 3), interpolation="bilinear"),
        plain,
        (3, 4, 2),
    ),
    "flatten": (pn.flatten, lambda: L.Flatten(), plain, (2, 3, 2)),
    "layer norm": (pn.layer_norm(epsilon=1e-3), lambda: L.LayerNormalization(epsilon=1e-3), plain, (4, 5)),
    "rms norm": (pn.rms_norm(), lambda: L.RMSNormalization(epsilon=1e-6), plain, (4, 5)),
    "group norm": (pn.group_norm(2), lambda: L.GroupNormalization(2, epsilon=1e-5), plain, (3, 4, 6)),
    "instance norm": (pn.instance_norm(), lambda: L.GroupNormalization(-1, epsilon=1e-5), plain, (3, 4, 3)),
    "rnn": (pn.rnn(4), lambda: L.SimpleRNN(4, return_sequences=True), plain, (5, 3)),
    "lstm": (pn.lstm(4), lambda: L.LSTM(4, return_sequences=True), plain, (5, 3)),
    "lstm, last": (pn.lstm(4, outputs="last"), lambda: L.LSTM(4), plain, (5, 3)),
    "gru": (pn.gru(4), lambda: L.GRU(4, return_sequences=True), gru, (5, 3)),
    "bidirectional lstm": (
        pn.bidirectional(pn.lstm(4)),
        lambda: L.Bidirectional(L.LSTM(4, return_sequences=True)),
        both(plain),
        (5, 3),
    ),
    "bidirectional gru, last": (
        pn.bidirectional(pn.gru(4, outputs="last")),
        lambda: L.Bidirectional(L.GRU(4)),
        both(gru),
        (5, 3),
    ),
}  # fmt: skip


def built(make, shape):
    return abstract(make(), (None, *shape))


def abstract(module, *shapes):
    """Builds a layer without its numbers, which are ours: drawing them takes most of the time."""

    def build():
        module.build(*shapes)
        return ()

    jax.eval_shape(build)
    return module


def rest_of(module):
    """What a layer keeps beside its weights, such as the state of random numbers."""
    return [jnp.zeros(variable.shape, variable.dtype) for variable in module.non_trainable_variables]


def compare(net, params, state, xs, theirs):
    """Compares `theirs(params, xs)`, which JAX differentiates by our params, with our hand rules."""
    out, dys, (dparams, dxs) = differentiated(theirs, params, xs)
    ys, _, our_dparams, our_dxs = trained(net, params, state, xs, dys)
    agree(ys, out, "y")
    for (path, ours), other in zip(
        jax.tree_util.tree_leaves_with_path((our_dparams, our_dxs)), jax.tree.leaves((dparams, dxs)), strict=True
    ):
        if ours.dtype != jax.dtypes.float0:
            agree(ours, other, f"gradient {jax.tree_util.keystr(path)}", 1e-10)


@pytest.mark.parametrize(("net", "make", "weights", "shape"), CASES.values(), ids=CASES)
def test_layers_agree_with_keras(net, make, weights, shape):
    xs = draw((BATCH, *shape))
    params, state = drawn_params(net, spec_of(xs))
    module = built(make, shape)
    rest = rest_of(module)
    assert [v.shape for v in weights(params)] == [v.shape for v in module.trainable_variables]
    compare(net, params, state, xs, lambda p, x: module.stateless_call(weights(p), rest, x)[0])


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru"])
def test_lengths_and_initial_states_agree_with_keras(name):
    kinds = {"rnn": (pn.rnn, L.SimpleRNN, plain), "lstm": (pn.lstm, L.LSTM, plain), "gru": (pn.gru, L.GRU, gru)}
    ours, theirs, weights = kinds[name]
    net = ours(4, lengths=True, carry=True)
    lengths = jnp.array([5, 2, 4], jnp.int32)
    carry = tuple(jnp.asarray(draw((BATCH, 4), seed)) for seed in (3, 4)[: 1 + (name == "lstm")])
    xs = (jnp.asarray(draw((BATCH, 5, 3))), lengths, carry if name == "lstm" else carry[0])
    params, state = drawn_params(net, jax.tree.map(lambda a: pn.spec(a.shape[1:], a.dtype), xs))
    module = built(lambda: theirs(4, return_sequences=True, zero_output_for_mask=True), (5, 3))
    mask = jnp.arange(5)[None] < lengths[:, None]

    def run(p, x):
        start = list(x[2]) if name == "lstm" else [x[2]]
        rest = rest_of(module)
        return module.stateless_call(weights(p), rest, x[0], initial_state=start, mask=mask)[0]

    class First:
        """Without the final state, which Keras gives apart."""

        init, parts = net.init, ()

        def vjp(self, params, xs, state, key):
            (ys, end), new, pullback = net.vjp(params, xs, state, key)
            return ys, new, lambda dys: pullback((dys, jax.tree.map(jnp.zeros_like, end)))

        def apply(self, params, x, state):
            return net.apply(params, x, state)[0]

    moving, whole = (xs[0], xs[2]), lambda two: (two[0], lengths, two[1])
    out, dys, (dparams, dxs) = differentiated(lambda p, x: run(p, whole(x)), params, moving)
    ys, _, our_dparams, our_dxs = trained(First(), params, state, xs, dys)
    agree(ys, out, "y")
    pairs = zip(jax.tree.leaves((our_dparams, our_dxs[0], our_dxs[2])), jax.tree.leaves((dparams, *dxs)), strict=True)
    for one, other in pairs:
        agree(one, other, "gradient")


@pytest.mark.parametrize("shape", [(3,), (4, 2, 3)], ids=["vectors", "images"])
def test_batch_norm_agrees_with_keras_over_several_steps(shape):
    """Keras's running variance is the biased one; the steps are compared from one start."""
    net, module = pn.batch_norm(momentum=0.9), built(lambda: L.BatchNormalization(momentum=0.9, epsilon=1e-5), shape)
    params, state = drawn_params(net, pn.spec(shape, np.float64))
    dys = cotangent((5, *shape))

    @jax.jit
    def theirs(params, state, xs):
        def call(p, x):
            rest = [state["mean"], state["var"]]
            return module.stateless_call([p["scale"], p["offset"]], rest, x, training=True)

        out, pullback, kept = jax.vjp(call, params, xs, has_aux=True)
        return out, *kept, *pullback(jnp.asarray(dys))

    for step in range(3):
        xs = 2 + 3 * draw((5, *shape), seed=step)
        n = xs.size // 3
        out, mean, var, dparams, dxs = theirs(params, state, xs)
        before = state["var"]
        ys, state, our_dparams, our_dxs = trained(net, params, state, xs, dys)
        agree(ys, out, "y")
        agree(our_dxs, dxs, "dJ/dx", 1e-10)
        for name in params:
            agree(our_dparams[name], dparams[name], f"dJ/d{name}", 1e-10)
        agree(state["mean"], mean, "running mean")
        agree((state["var"] - 0.9 * before) * (n - 1) / n, var - 0.9 * before, "what the running variance gains")
    rest = [state["mean"], state["var"]]
    out = module.stateless_call([params["scale"], params["offset"]], rest, xs, training=False)[0]
    agree(jax.vmap(lambda x: net.apply(params, x, state))(xs), out, "y of inference")


def headed(heads, d):
    """Kernels and biases of attention with an axis of heads."""

    def weights(p):
        made = []
        for name in ("query", "key", "value"):
            made.append(p[name]["kernel"].reshape(p[name]["kernel"].shape[0], -1, d))
            made.append(p[name]["bias"].reshape(-1, d))
        return [*made, p["out"]["kernel"].reshape(heads, d, -1), p["out"]["bias"]]

    return weights


ATTENTION = {
    "self": ({}, lambda: L.MultiHeadAttention(2, 4), {}),
    "causal": ({"causal": True}, lambda: L.MultiHeadAttention(2, 4), {"use_causal_mask": True}),
    "wide heads": ({"head_features": 3, "features": 5}, lambda: L.MultiHeadAttention(2, 3, output_shape=5), {}),
    "grouped": ({"kv_heads": 1}, lambda: L.GroupQueryAttention(4, 2, 1), {}),
    "grouped, causal": (
        {"kv_heads": 1, "causal": True},
        lambda: L.GroupQueryAttention(4, 2, 1),
        {"use_causal_mask": True},
    ),
    "mask": ({"mask": True}, lambda: L.MultiHeadAttention(2, 4), {}),
    "cross": ({"cross": True}, lambda: L.MultiHeadAttention(2, 4), {}),
}  # fmt: skip


@pytest.mark.parametrize(("options", "make", "calls"), ATTENTION.values(), ids=ATTENTION)
def test_attention_agrees_with_keras(options, make, calls):
    net, t, c = pn.attention(2, **options), 5, 8
    x, memory = jnp.asarray(draw((BATCH, t, c))), jnp.asarray(draw((BATCH, 6, 3), 2))
    mask = jnp.asarray(np.random.default_rng(5).random((BATCH, t, t)) < 0.6).at[..., 0].set(True)
    cross, masked = "cross" in options, "mask" in options
    xs = (x, memory) if cross else (x, mask) if masked else x
    params, state = drawn_params(net, jax.tree.map(lambda a: pn.spec(a.shape[1:], a.dtype), xs))
    module = abstract(make(), (None, t, c), (None, 6, 3) if cross else (None, t, c))
    weights = headed(2, options.get("head_features", 4))
    assert [v.shape for v in weights(params)] == [v.shape for v in module.trainable_variables]
    rest = rest_of(module)

    def theirs(p, *given):
        value = given[1] if cross else given[0]
        more = {"attention_mask": mask, **calls} if masked else calls
        # With the scores Keras computes in float64; without, in jax.nn.dot_product_attention, which takes float32.
        (y, _), _ = module.stateless_call(weights(p), rest, given[0], value, return_attention_scores=True, **more)
        return y

    given = (x, memory) if cross else (x,)
    out, dys, (dparams, *dxs) = differentiated(theirs, params, *given)
    ys, _, our_dparams, our_dxs = trained(net, params, state, xs, dys)
    agree(ys, out, "y")
    our_dxs = our_dxs if isinstance(our_dxs, tuple) else (our_dxs,)
    for ours, other in zip(our_dxs, dxs, strict=False):
        agree(ours, other, "dJ/dx")
    for name in params:
        for part in params[name]:
            if (name, part) != ("key", "bias"):  # a bias of all keys changes no output: its gradient is rounding
                agree(our_dparams[name][part], dparams[name][part], f"dJ/d{name} {part}")


def test_embedding_agrees_with_keras():
    net, words = pn.embedding(7, 4, dtype=np.float64), jnp.arange(6, dtype=jnp.int32).reshape(BATCH, 2)
    params, _ = drawn_params(net, pn.spec(2, np.int32))
    module = built(lambda: L.Embedding(7, 4), (2,))
    out = module.stateless_call([params["embedding"]], [], words)[0]
    agree(jax.vmap(net.apply, (None, 0))(params, words), out, "y")
