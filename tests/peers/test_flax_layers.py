"""Layers against Flax, linen and NNX, through `pn.convert`: names, outputs, gradients and running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers.agreement import BATCH, agree, applied, cotangent, differentiated, draw, drawn_params, spec_of, trained

import purenet as pn

flax = pytest.importorskip("flax", reason="Flax is not installed: pip install purenet[peers]")
nn, nnx = pytest.importorskip("flax.linen"), pytest.importorskip("flax.nnx")
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64")]

OPTIONS = {"param_dtype": jnp.float64}
# ours, linen's, the shape of one example
CASES = {
    "dense": (pn.dense(4), lambda: nn.Dense(4, **OPTIONS), (3,)),
    "mlp": (
        pn.serial(pn.dense(5), pn.tanh, pn.serial(pn.dense(4), pn.dense(2, bias=False))),
        lambda: nn.Sequential(
            [
                nn.Dense(5, **OPTIONS),
                nn.tanh,
                nn.Sequential([nn.Dense(4, **OPTIONS), nn.Dense(2, use_bias=False, **OPTIONS)]),
            ]
        ),
        (3,),
    ),
    "conv1, causal": (pn.conv(4, 3, padding="causal"), lambda: nn.Conv(4, (3,), padding="CAUSAL", **OPTIONS), (7, 3)),
    "conv1, circular": (
        pn.conv(4, 4, padding="circular"),
        lambda: nn.Conv(4, (4,), padding="CIRCULAR", **OPTIONS),
        (7, 3),
    ),
    "conv2, same, stride": (pn.conv(4, (3, 2), stride=2), lambda: nn.Conv(4, (3, 2), (2, 2), **OPTIONS), (7, 8, 2)),
    "conv2, groups, dilation": (
        pn.conv(6, (3, 3), groups=2, dilation=2, padding=((1, 2), (0, 3))),
        lambda: nn.Conv(
            6, (3, 3), feature_group_count=2, kernel_dilation=2, padding=((1, 2), (0, 3)), **OPTIONS
        ),
        (6, 7, 4),
    ),
    "depthwise": (
        pn.depthwise_conv((3, 3), multiplier=2),
        lambda: nn.Conv(6, (3, 3), feature_group_count=3, **OPTIONS),
        (5, 6, 3),
    ),
    "transpose, same": (
        pn.conv_transpose(4, (3, 4), stride=2),
        lambda: nn.ConvTranspose(4, (3, 4), (2, 2), **OPTIONS),
        (4, 5, 3),
    ),
    "transpose, valid": (
        pn.conv_transpose(4, 3, stride=2, padding="valid"),
        lambda: nn.ConvTranspose(4, (3,), (2,), padding="VALID", **OPTIONS),
        (5, 3),
    ),
    "flattened": (
        pn.serial(pn.conv(3, (2, 2)), pn.flatten, pn.dense(2)),
        lambda: nn.Sequential([nn.Conv(3, (2, 2), **OPTIONS), lambda x: x.reshape(len(x), -1), nn.Dense(2, **OPTIONS)]),
        (3, 4, 2),
    ),
    "layer norm": (pn.layer_norm(), lambda: nn.LayerNorm(1e-5, use_fast_variance=False, **OPTIONS), (4, 5)),
    "rms norm": (pn.rms_norm(), lambda: nn.RMSNorm(1e-6, **OPTIONS), (4, 5)),
    "group norm": (pn.group_norm(2), lambda: nn.GroupNorm(2, epsilon=1e-5, use_fast_variance=False, **OPTIONS), (4, 6)),
    "instance norm": (
        pn.instance_norm(),
        lambda: nn.InstanceNorm(epsilon=1e-5, use_fast_variance=False, **OPTIONS),
        (4, 3, 3),
    ),
    "rnn": (pn.rnn(4), lambda: nn.RNN(nn.SimpleCell(4, **OPTIONS)), (5, 3)),
    "lstm": (pn.lstm(4), lambda: nn.RNN(nn.OptimizedLSTMCell(4, **OPTIONS)), (5, 3)),
    "lstm, plain cell": (pn.lstm(4), lambda: nn.RNN(nn.LSTMCell(4, **OPTIONS)), (5, 3)),
    "gru": (pn.gru(4), lambda: nn.RNN(nn.GRUCell(4, **OPTIONS)), (5, 3)),
    "bidirectional": (
        pn.bidirectional(pn.gru(4)),
        lambda: nn.Bidirectional(nn.RNN(nn.GRUCell(4, **OPTIONS)), nn.RNN(nn.GRUCell(4, **OPTIONS))),
        (5, 3),
    ),
    "attention": (pn.attention(2), lambda: nn.MultiHeadDotProductAttention(2, **OPTIONS), (5, 8)),
    "attention, causal": (
        pn.attention(2, causal=True),
        lambda: nn.Sequential([Causal(2)]),
        (5, 8),
    ),
    "max": (
        pn.max_pool((3, 3), stride=2, padding="same"),
        lambda: Function(lambda x: nn.max_pool(x, (3, 3), (2, 2), "SAME")),
        (6, 7, 2),
    ),
    "mean": (
        pn.avg_pool((3, 3), stride=2, padding="same", count_padding=True),
        lambda: Function(lambda x: nn.avg_pool(x, (3, 3), (2, 2), "SAME")),
        (6, 7, 2),
    ),
}  # fmt: skip


class Function(nn.Module):
    function: object

    def __call__(self, x):
        return self.function(x)


class Causal(nn.Module):
    heads: int

    @nn.compact
    def __call__(self, x):
        mask = nn.make_causal_mask(x[..., 0])
        return nn.MultiHeadDotProductAttention(self.heads, name="inner", **OPTIONS)(x, mask=mask)


def shapes(tree):
    return jax.tree.map(lambda a: (a.shape, a.dtype), tree)


@pytest.mark.parametrize(("net", "make", "shape"), CASES.values(), ids=CASES)
def test_layers_agree_with_linen(net, make, shape):
    xs = draw((BATCH, *shape))
    spec = spec_of(xs)
    names = {"": "layers_0/inner"} if net is CASES["attention, causal"][0] else None
    params, state = drawn_params(net, spec)
    variables = pn.convert.to_flax(net, params, state, names=names, heads=2)
    made = jax.eval_shape(lambda: make().init(jax.random.key(0), jnp.asarray(xs)))
    assert shapes(variables["params"]) == shapes(made.get("params", {}))
    out, dys, (dvariables, dxs) = differentiated(lambda v, x: make().apply(v, x), variables, xs)
    ys, _, our_dparams, our_dxs = trained(net, params, state, xs, dys)
    agree(ys, out, "y")
    agree(our_dxs, dxs, "dJ/dx", 1e-10)
    dparams = pn.convert.from_flax(net, dvariables, spec, names, heads=2)[0]
    for (path, ours), other in zip(
        jax.tree_util.tree_leaves_with_path(our_dparams), jax.tree.leaves(dparams), strict=True
    ):
        if "'key']['bias" not in jax.tree_util.keystr(path):  # changes no output: its gradient is rounding
            agree(ours, other, f"gradient {jax.tree_util.keystr(path)}", 1e-10)


def test_batch_norm_agrees_with_linen_over_several_steps():
    """Flax's running variance is the biased one; the steps are compared from one start."""
    net, module = pn.serial(pn.batch_norm()), nn.BatchNorm(momentum=0.9, use_fast_variance=False, **OPTIONS)
    spec, names = pn.spec((4, 3), np.float64), {"0": ""}
    params, state = drawn_params(net, spec)
    for step in range(3):
        xs = 2 + 3 * draw((5, 4, 3), seed=step)
        variables = pn.convert.to_flax(net, params, state, names=names)
        out, new = module.apply(variables, xs, use_running_average=False, mutable="batch_stats")
        before = state[0]["var"]
        ys, state, _, _ = trained(net, params, state, xs, cotangent(out.shape))
        agree(ys, out, "y")
        agree(state[0]["mean"], new["batch_stats"]["mean"], "running mean")
        gained = (state[0]["var"] - 0.9 * before) * 19 / 20
        agree(gained, new["batch_stats"]["var"] - 0.9 * before, "what the running variance gains")
    variables = pn.convert.to_flax(net, params, state, names=names)
    out = module.apply(variables, xs, use_running_average=True)
    agree(jax.vmap(lambda x: net.apply(params, x, state))(xs), out, "y of inference")


WIDE = {**OPTIONS, "dtype": jnp.float64}
NNX = {
    "sequential": (
        pn.serial(pn.conv(3, (3, 3)), pn.batch_norm(), pn.relu, pn.flatten, pn.dense(2)),
        lambda: nnx.Sequential(
            nnx.Conv(2, 3, (3, 3), **WIDE, rngs=nnx.Rngs(0)),
            nnx.BatchNorm(3, use_running_average=True, **WIDE, rngs=nnx.Rngs(0)),
            nnx.relu,
            lambda x: x.reshape(len(x), -1),
            nnx.Linear(36, 2, **WIDE, rngs=nnx.Rngs(0)),
        ),
        (3, 4, 2),
    ),
    "lstm": (
        pn.lstm(4),
        lambda: nnx.RNN(nnx.OptimizedLSTMCell(3, 4, **WIDE, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)),
        (5, 3),
    ),
    "rnn": (
        pn.rnn(4),
        lambda: nnx.RNN(nnx.SimpleCell(3, 4, **WIDE, rngs=nnx.Rngs(0)), rngs=nnx.Rngs(0)),
        (5, 3),
    ),
    "attention": (
        pn.attention(2),
        lambda: nnx.MultiHeadAttention(2, 8, decode=False, **WIDE, rngs=nnx.Rngs(0)),
        (5, 8),
    ),
    "grouped attention": (
        pn.attention(4, kv_heads=2),
        lambda: nnx.MultiHeadAttention(4, 8, num_kv_heads=2, decode=False, **WIDE, rngs=nnx.Rngs(0)),
        (5, 8),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "make", "shape"), NNX.values(), ids=NNX)
def test_layers_agree_with_nnx(net, make, shape):
    xs = draw((BATCH, *shape))
    params, state = drawn_params(net, spec_of(xs))
    heads = 4 if net is NNX["grouped attention"][0] else 2
    arrays = pn.convert.to_flax(net, params, state, style="nnx", heads=heads)
    drawn = net.name in ("lstm", "rnn")  # an RNN keeps random streams, which must be there
    module = make() if drawn else nnx.eval_shape(make)
    kept = nnx.state(module, (nnx.Param, nnx.BatchStat))
    expected = jax.tree.map(lambda a: a.shape, nnx.to_pure_dict(kept))
    assert jax.tree.map(lambda a: a.shape, arrays) == expected
    nnx.replace_by_pure_dict(kept, jax.tree.map(jnp.asarray, arrays))
    nnx.update(module, kept)
    tolerance = 1e-6 if net.name == "attention" else 1e-11  # its scores are float32, by jax.nn.dot_product_attention
    theirs = nnx.jit(lambda module, xs: module(xs))(module, jnp.asarray(xs))
    agree(jax.jit(lambda p, xs: applied(net, p, state, xs))(params, xs), theirs, "y", tolerance)
