"""Recurrent layers, embeddings and attention against PyTorch, with the same weights and in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from peers.agreement import BATCH, agree, applied, cotangent, draw, drawn_params, trained

import purenet as pn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install purenet[peers]")
nn = torch.nn
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64")]

T, N, H = 5, 3, 4
LENGTHS = np.array([5, 2, 4], np.int32)
# ours, with its options, and PyTorch's
RECURRENT = {
    "rnn": (lambda **kw: pn.rnn(H, **kw), lambda: nn.RNN(N, H, batch_first=True)),
    "rnn, relu": (
        lambda **kw: pn.rnn(H, activation="relu", **kw),
        lambda: nn.RNN(N, H, nonlinearity="relu", batch_first=True),
    ),
    "lstm": (lambda **kw: pn.lstm(H, **kw), lambda: nn.LSTM(N, H, batch_first=True)),
    "lstm, no bias": (lambda **kw: pn.lstm(H, bias=False, **kw), lambda: nn.LSTM(N, H, bias=False, batch_first=True)),
    "gru": (lambda **kw: pn.gru(H, **kw), lambda: nn.GRU(N, H, batch_first=True)),
    "bidirectional lstm": (
        lambda **kw: pn.bidirectional(pn.lstm(H, **kw)),
        lambda: nn.LSTM(N, H, bidirectional=True, batch_first=True),
    ),
    "bidirectional gru": (
        lambda **kw: pn.bidirectional(pn.gru(H, **kw)),
        lambda: nn.GRU(N, H, bidirectional=True, batch_first=True),
    ),
    "two lstms": (
        lambda **kw: pn.stacked(pn.lstm(H, **kw), pn.lstm(H, **kw), between=pn.dropout(0.0)),
        lambda: nn.LSTM(N, H, num_layers=2, batch_first=True),
    ),
    "two bidirectional grus": (
        lambda **kw: pn.stacked(pn.bidirectional(pn.gru(H, **kw)), pn.bidirectional(pn.gru(H, **kw))),
        lambda: nn.GRU(N, H, num_layers=2, bidirectional=True, batch_first=True),
    ),
}  # fmt: skip


def load(module, arrays):
    module.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()}, strict=True)
    return module


def check_gradients(net, dparams, spec, module):
    """Compares the gradients of weights; where PyTorch has two biases and we have one, both have its gradient."""
    grads = pn.convert.to_torch(net, dparams, (), spec)
    for name, parameter in module.named_parameters():
        ours = grads[name]
        if "bias_hh" in name:
            first = grads[name.replace("_hh", "_ih")]
            ours = np.concatenate([first[: 2 * H], ours[2 * H :]]) if isinstance(module, nn.GRU) else first
        agree(ours, parameter.grad.numpy(), f"dJ/d{name}")


# With lengths a layer does all that it does without, and more; without, a few.
WHOLE = ("rnn, relu", "lstm", "gru", "two bidirectional grus")


@pytest.mark.parametrize(
    ("name", "lengths"), [*((name, True) for name in RECURRENT), *((name, False) for name in WHOLE)]
)
def test_recurrent_layers_agree_with_pytorch(name, lengths):
    make, theirs = RECURRENT[name]
    net, xs = make(lengths=lengths), draw((BATCH, T, N))
    spec = pn.spec((T, N), np.float64)
    spec = (spec, pn.spec((), jnp.int32)) if lengths else spec
    params, state = drawn_params(net, spec)
    module = load(theirs().double(), pn.convert.to_torch(net, params))
    given = torch.tensor(xs, requires_grad=True)
    if lengths:
        pack = nn.utils.rnn.pack_padded_sequence(given, torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False)
        out = nn.utils.rnn.pad_packed_sequence(module(pack)[0], batch_first=True, total_length=T)[0]
    else:
        out = module(given)[0]
    dys = cotangent(tuple(out.shape))
    out.backward(torch.from_numpy(dys))
    ys, _, dparams, dxs = trained(net, params, state, (xs, jnp.asarray(LENGTHS)) if lengths else xs, dys)
    agree(ys, out.detach().numpy(), "y")
    agree(dxs[0] if lengths else dxs, given.grad.numpy(), "dJ/dx")
    check_gradients(net, dparams, spec, module)


@pytest.mark.parametrize("name", ["rnn", "lstm", "gru", "two lstms", "bidirectional lstm"])
def test_initial_and_final_states_agree_with_pytorch(name):
    make, theirs = RECURRENT[name]
    net, pair, many = make(carry=True), "lstm" in name, name.startswith(("two", "bi"))
    vectors = [draw((BATCH, H), seed) for seed in range(10, 14)]
    starts = [tuple(vectors[:2]) if pair else vectors[0], tuple(vectors[2:])]
    carry = tuple(starts) if many else starts[0]
    xs = (draw((BATCH, T, N)), carry)
    spec = jax.tree.map(lambda a: pn.spec(a.shape[1:], np.float64), xs)
    params, state = drawn_params(net, spec)
    module = load(theirs().double(), pn.convert.to_torch(net, params))
    rows = starts if many else starts[:1]
    begun = [torch.tensor(np.stack(one), requires_grad=True) for one in (zip(*rows, strict=True) if pair else [rows])]
    out, ended = module(torch.tensor(xs[0]), tuple(begun) if pair else begun[0])
    ended = ended if pair else (ended,)
    dys = jax.tree.map(lambda a: cotangent(a.shape), jax.eval_shape(lambda: applied(net, params, state, xs)))
    (ys, ends), _, dparams, (_, dstarts) = trained(net, params, state, xs, dys)
    dends = [np.stack(one) for one in _by_kind(dys[1], pair, many)]
    torch.autograd.backward([out, *ended], [torch.from_numpy(a) for a in (dys[0], *dends)])
    agree(ys, out.detach().numpy(), "y")
    for ours, end in zip(_by_kind(ends, pair, many), ended, strict=True):
        agree(np.stack(ours), end.detach().numpy(), "final state")
    for ours, start in zip(_by_kind(dstarts, pair, many), begun, strict=True):
        agree(np.stack(ours), start.grad.numpy(), "dJ/d initial state")
    check_gradients(net, dparams, spec, module)


def _by_kind(carry, pair, many):
    """PyTorch's order: first by h and c, then by layer."""
    layers = carry if many else (carry,)
    return list(zip(*layers, strict=True)) if pair else [layers]


def test_embedding_and_positions_agree_with_pytorch():
    words = np.random.default_rng(0).integers(0, 7, (BATCH, T)).astype(np.int32)
    net = pn.serial(pn.embedding(7, 4, dtype=np.float64), pn.learned_positions(6))
    params, state = drawn_params(net, pn.spec(T, np.int32))
    table, places = nn.Embedding(7, 4).double(), nn.Embedding(6, 4).double()
    load(nn.Sequential(table, places), pn.convert.to_torch(net, params))
    out = table(torch.tensor(words)) + places(torch.arange(T))
    dys = cotangent(tuple(out.shape))
    out.backward(torch.from_numpy(dys))
    ys, _, dparams, _ = trained(net, params, state, words, dys)
    agree(ys, out.detach().numpy(), "y")
    grads = pn.convert.to_torch(net, dparams)
    agree(grads["0.weight"], table.weight.grad.numpy(), "dJ/d table")
    agree(grads["1.weight"], places.weight.grad.numpy(), "dJ/d positions")


ATTENTION = {
    "self": ({}, {}),
    "causal": ({"causal": True}, {}),
    "mask": ({"mask": True}, {}),
    "cross": ({"cross": True}, {"kdim": 3, "vdim": 3}),
    "cross, alike": ({"cross": True}, {}),
    "no bias": ({"bias": False}, {"bias": False}),
}


@pytest.mark.parametrize(("options", "theirs"), ATTENTION.values(), ids=ATTENTION)
def test_attention_agrees_with_multihead_attention(options, theirs):
    c, heads, s = 8, 2, 6 if "cross" in options else T
    net, xs = pn.attention(heads, **options), draw((BATCH, T, c))
    memory = draw((BATCH, s, theirs.get("kdim", c)), 3) if "cross" in options else xs
    mask = np.random.default_rng(5).random((BATCH, T, s)) < 0.6
    mask[..., 0] = True
    given = (xs, *[memory] * ("cross" in options), *[mask] * ("mask" in options))
    given = given if len(given) > 1 else xs
    spec = jax.tree.map(lambda a: pn.spec(a.shape[1:], a.dtype), given)
    params, state = drawn_params(net, spec)
    module = load(
        nn.MultiheadAttention(c, heads, batch_first=True, **theirs).double(), pn.convert.to_torch(net, params)
    )
    x = torch.tensor(xs, requires_grad=True)
    m = torch.tensor(memory, requires_grad=True) if "cross" in options else x
    hidden = None
    if "causal" in options:
        hidden = ~torch.tril(torch.ones(T, T, dtype=torch.bool))
    if "mask" in options:
        hidden = torch.from_numpy(np.repeat(~mask, heads, axis=0))
    out = module(x, m, m, attn_mask=hidden, need_weights=False)[0]
    dys = cotangent(tuple(out.shape))
    out.backward(torch.from_numpy(dys))
    ys, _, dparams, dxs = trained(net, params, state, given, dys)
    agree(ys, out.detach().numpy(), "y")
    agree(dxs[0] if isinstance(dxs, tuple) else dxs, x.grad.numpy(), "dJ/dx")
    if "cross" in options:
        agree(dxs[1], m.grad.numpy(), "dJ/d memory")
    grads = pn.convert.to_torch(net, dparams)
    for name, parameter in module.named_parameters():
        if name == "in_proj_bias":  # a bias of all keys changes no output: its gradient is rounding
            grads[name][c : 2 * c] = parameter.grad[c : 2 * c].numpy()
        agree(grads[name], parameter.grad.numpy(), f"dJ/d{name}")


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_grouped_queries_agree_with_scaled_dot_product_attention(groups, causal):
    heads, d, c = 4, 3, 5
    net, xs = pn.attention(heads, kv_heads=groups, head_features=d, causal=causal), draw((BATCH, T, c))
    params, state = drawn_params(net, pn.spec((T, c), np.float64))
    theirs = jax.tree.map(lambda a: torch.tensor(np.asarray(a), requires_grad=True), params)
    x = torch.tensor(xs, requires_grad=True)

    def parted(name, number):
        flat = x @ theirs[name]["kernel"] + theirs[name]["bias"]
        return flat.reshape(BATCH, T, number, d).transpose(1, 2)

    q, k, v = parted("query", heads), parted("key", groups), parted("value", groups)
    z = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=True)
    out = z.transpose(1, 2).reshape(BATCH, T, heads * d) @ theirs["out"]["kernel"] + theirs["out"]["bias"]
    dys = cotangent(tuple(out.shape))
    out.backward(torch.from_numpy(dys))
    ys, _, dparams, dxs = trained(net, params, state, xs, dys)
    agree(ys, out.detach().numpy(), "y")
    agree(dxs, x.grad.numpy(), "dJ/dx")
    for name in params:
        for part in params[name]:
            if (name, part) != ("key", "bias"):
                agree(dparams[name][part], theirs[name][part].grad.numpy(), f"dJ/d{name} {part}")


def test_transformer_block_agrees_with_an_encoder_layer():
    net, c = pn.transformer_block(8, 2, hidden=6), 8
    xs, spec = draw((BATCH, T, c)), pn.spec((T, c), np.float64)
    names = {"0.0.0": "norm1", "0.0.1": "self_attn", "1.0.0": "norm2", "1.0.1.0.0": "linear1", "1.0.1.0.2": "linear2"}
    params, state = drawn_params(net, spec)
    module = nn.TransformerEncoderLayer(
        c, 2, dim_feedforward=6, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    load(module, pn.convert.to_torch(net, params, names=names))
    x = torch.tensor(xs, requires_grad=True)
    out = module(x)
    dys = cotangent(tuple(out.shape))
    out.backward(torch.from_numpy(dys))
    ys, _, dparams, dxs = trained(net, params, state, xs, dys)
    agree(ys, out.detach().numpy(), "y")
    agree(dxs, x.grad.numpy(), "dJ/dx")
    grads = pn.convert.to_torch(net, dparams, names=names)
    for name, parameter in module.named_parameters():
        if "in_proj_bias" in name:
            grads[name][c : 2 * c] = parameter.grad[c : 2 * c].numpy()
        agree(grads[name], parameter.grad.numpy(), f"dJ/d{name}")
