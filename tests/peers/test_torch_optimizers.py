"""Optimizers against PyTorch's: a hundred steps in float64, with equal weights and batches."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import optax.contrib
import pytest
from peers.hundred_steps import (
    EPS,
    ORDER,
    RATE,
    STEPS,
    WHOLE,
    XS,
    YS,
    Row,
    descent,
    expect_equal_paths,
    late_amsgrad,
    outside_adagrad,
    plain_muon,
    problem,
    scheduled_nadam,
)

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install purenet[peers]")
T = torch.optim
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64")]


def first_step_by_sum(memory):
    """L-BFGS whose first step is shortened by 1 / Σ|g|, as PyTorch does; optax shortens it by 1 / √Σg²."""
    inner = optax.scale_by_lbfgs(memory)

    def update(grads, state, params=None):
        steps, new = inner.update(grads, state, params)
        share = jnp.minimum(1.0, 1 / sum(jnp.sum(jnp.abs(g)) for g in jax.tree.leaves(grads)))
        return jax.tree.map(lambda g, step: jnp.where(state.count == 0, share * g, step), grads, steps), new

    return optax.GradientTransformation(inner.init, update)


# PyTorch has no Lion. L-BFGS with larger steps multiplies rounding errors: 1e-10 in a hundred steps at this rate.
ROWS = {
    "SGD": Row(optax.sgd(RATE), lambda p: T.SGD(p, RATE)),
    "momentum": Row(optax.sgd(RATE, 0.9), lambda p: T.SGD(p, RATE, momentum=0.9)),
    "Nesterov": Row(optax.sgd(RATE, 0.9, nesterov=True), lambda p: T.SGD(p, RATE, momentum=0.9, nesterov=True)),
    "Adagrad": Row(
        optax.adagrad(RATE, initial_accumulator_value=0.1, eps=EPS),
        lambda p: T.Adagrad(p, RATE, initial_accumulator_value=0.1, eps=EPS),
        "ε outside the root (and a sum that begins at 0 unless told, not 0.1)",
        descent(outside_adagrad(EPS, 0.1)),
    ),
    "Adadelta": Row(optax.adadelta(1.0, 0.9, EPS), lambda p: T.Adadelta(p, 1.0, rho=0.9, eps=EPS)),
    "RMSprop": Row(
        optax.rmsprop(RATE, 0.9, EPS),
        lambda p: T.RMSprop(p, RATE, alpha=0.9, eps=EPS),
        "ε outside the root: eps_in_sqrt=False (and α is 0.99 unless told, not 0.9)",
        optax.rmsprop(RATE, 0.9, EPS, eps_in_sqrt=False),
    ),
    "RMSprop, centred, with momentum": Row(
        optax.rmsprop(RATE, 0.9, EPS, centered=True, momentum=0.9),
        lambda p: T.RMSprop(p, RATE, alpha=0.9, eps=EPS, centered=True, momentum=0.9),
        "ε outside the root: eps_in_sqrt=False",
        optax.rmsprop(RATE, 0.9, EPS, eps_in_sqrt=False, centered=True, momentum=0.9),
    ),
    "Adam": Row(optax.adam(RATE, eps=EPS), lambda p: T.Adam(p, RATE, eps=EPS)),
    "AMSGrad": Row(
        optax.amsgrad(RATE, eps=EPS),
        lambda p: T.Adam(p, RATE, eps=EPS, amsgrad=True),
        "the largest ν before the bias correction, not after",
        descent(late_amsgrad(EPS)),
    ),
    "Adamax": Row(optax.adamax(RATE, eps=EPS), lambda p: T.Adamax(p, RATE, eps=EPS)),
    "Nadam": Row(
        optax.nadam(RATE, eps=EPS),
        lambda p: T.NAdam(p, RATE, eps=EPS, momentum_decay=4e-3),
        "a schedule of the momentum, with momentum_decay 0.004 in its exponent",
        descent(scheduled_nadam(EPS, 4e-3)),
    ),
    "AdamW": Row(optax.adamw(RATE, eps=EPS, weight_decay=0.1), lambda p: T.AdamW(p, RATE, eps=EPS, weight_decay=0.1)),
    "Muon": Row(
        optax.contrib.muon(RATE, eps=1e-7),
        lambda p: T.Muon(p, RATE, weight_decay=0.0),
        "no bias correction of the momentum; and it rounds to bfloat16 when it orthogonalises, which the test prevents",
        descent(plain_muon(lambda fan_in, fan_out: math.sqrt(max(1, fan_out / fan_in)))),
        {"bias": False},
    ),
    "L-BFGS": Row(
        optax.lbfgs(0.1, 10, linesearch=None),
        lambda p: T.LBFGS(p, 0.1, max_iter=1, history_size=10, tolerance_grad=0, tolerance_change=0),
        "the first step is shortened by the sum of |g|, not the root of squares; neither searches along the line here",
        descent(first_step_by_sum(10), rate=0.1),
        {"order": WHOLE},
    ),
}  # fmt: skip


def torch_path(make, bias=True, order=ORDER):
    """The params after each of PyTorch's steps; its layers hold the kernels transposed."""
    _, params = problem(bias)
    first, second = torch.nn.Linear(3, 4, bias=bias), torch.nn.Linear(4, 2, bias=bias)
    for layer, ours in ((first, params[0]), (second, params[2])):
        layer.double()
        with torch.no_grad():
            for weight, name in zip(layer.parameters(), ("kernel", "bias"), strict=False):
                weight.copy_(torch.tensor(np.asarray(ours[name]).T))
    optimizer = make([*first.parameters(), *second.parameters()])
    rows = []
    for indices in order:
        xs, ys = torch.tensor(XS[indices]), torch.tensor(YS[indices])

        def closure(xs=xs, ys=ys):
            optimizer.zero_grad()
            loss = ((second(torch.tanh(first(xs))) - ys) ** 2).sum(dim=1).mean() / 2
            loss.backward()
            return loss

        optimizer.step(closure)
        rows.append(tuple(_numbers(layer) for layer in (first, second)))
    path = jax.tree.map(lambda *a: np.stack(a), *rows)
    assert len(rows) == STEPS
    return path[0], (), path[1]


def _numbers(layer):
    named = zip(("kernel", "bias"), layer.parameters(), strict=False)
    return {name: weight.detach().numpy().T.copy() for name, weight in named}


@pytest.mark.parametrize("name", ROWS)
def test_a_hundred_steps_are_those_of_pytorch(name, monkeypatch):
    row = ROWS[name]
    if name == "Muon":
        monkeypatch.setattr(torch.Tensor, "bfloat16", torch.Tensor.clone)
    expect_equal_paths(row, torch_path(row.theirs, **row.options))
