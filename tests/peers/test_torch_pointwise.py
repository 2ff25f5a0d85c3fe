"""Activations and losses against PyTorch: values and gradients in float64."""

import jax
import numpy as np
import pytest
from peers.agreement import agree, draw, trained

import purenet as pn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install purenet[peers]")
F = torch.nn.functional
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64")]

ACTIVATIONS = {
    "relu": (pn.relu, F.relu),
    "relu6": (pn.relu6, F.relu6),
    "hard_tanh": (pn.hard_tanh, F.hardtanh),
    "hard_sigmoid": (pn.hard_sigmoid, F.hardsigmoid),
    "gelu": (pn.gelu, F.gelu),
    "gelu_tanh": (pn.gelu_tanh, lambda x: F.gelu(x, approximate="tanh")),
    "silu": (pn.silu, F.silu),
    "mish": (pn.mish, F.mish),
    "leaky_relu": (pn.leaky_relu(0.2), lambda x: F.leaky_relu(x, 0.2)),
    "elu": (pn.elu(1.5), lambda x: F.elu(x, 1.5)),
    "celu": (pn.celu(1.5), lambda x: F.celu(x, 1.5)),
    "selu": (pn.selu, F.selu),
    "sigmoid": (pn.sigmoid, torch.sigmoid),
    "log_sigmoid": (pn.log_sigmoid, F.logsigmoid),
    "soft_sign": (pn.soft_sign, F.softsign),
    "softplus": (pn.softplus, lambda x: F.softplus(x, threshold=1000)),  # above 20 PyTorch takes x itself
    "tanh": (pn.tanh, torch.tanh),
    "softmax": (pn.softmax, lambda x: F.softmax(x, -1)),
    "log_softmax": (pn.log_softmax, lambda x: F.log_softmax(x, -1)),
}


@pytest.mark.parametrize(("layer", "theirs"), ACTIVATIONS.values(), ids=ACTIVATIONS)
def test_activations_agree_with_pytorch(layer, theirs):
    xs, dys = np.concatenate([3 * draw((4, 5)), 30 * draw((2, 5), 1)]), draw((6, 5), 2)
    x = torch.tensor(xs, requires_grad=True)
    out = theirs(x)
    out.backward(torch.from_numpy(dys))
    ys, _, _, dxs = trained(layer, (), (), xs, dys)
    agree(ys, out.detach().numpy(), "y")
    # PyTorch's hard sigmoid has a derivative of 1/6 rounded to float32
    agree(dxs, x.grad.numpy(), "dJ/dx", 1e-7 if layer is pn.hard_sigmoid else 1e-11)


def shares(seed):
    """Distributions of four classes."""
    powers = np.exp(draw((6, 4), seed))
    return powers / powers.sum(-1, keepdims=True)


SCORES, REAL = draw((6, 4)), draw((6, 4), 1)
LABELS = np.array([0, 3, 1, 2, 2, 0])
COUNTS = np.random.default_rng(0).poisson(3, (6, 4)).astype(np.float64)
RATES = np.exp(draw((6, 4), 3))
losses = pn.losses
# ours, PyTorch's for each example, predictions, targets
LOSSES = {
    "softmax": (losses.softmax_cross_entropy, lambda p, y: F.cross_entropy(p, y, reduction="none"), SCORES, LABELS),
    "softmax, soft": (
        losses.softmax_cross_entropy,
        lambda p, y: F.cross_entropy(p, y, reduction="none"),
        SCORES,
        shares(2),
    ),
    "smoothed": (
        losses.smoothed_softmax_cross_entropy(0.2),
        lambda p, y: F.cross_entropy(p, y, reduction="none", label_smoothing=0.2),
        SCORES,
        LABELS,
    ),
    "sigmoid": (
        losses.sigmoid_cross_entropy,
        lambda p, y: F.binary_cross_entropy_with_logits(p, y, reduction="none").mean(-1),
        SCORES,
        shares(2),
    ),
    "binary": (
        losses.binary_cross_entropy,
        lambda p, y: F.binary_cross_entropy(p, y, reduction="none").mean(-1),
        shares(1),
        shares(2),
    ),
    "categorical": (losses.categorical_cross_entropy, lambda p, y: -(y * p.log()).sum(-1), shares(1), shares(2)),
    "categorical, labels": (
        losses.categorical_cross_entropy,
        lambda p, y: F.nll_loss(p.log(), y, reduction="none"),
        shares(1),
        LABELS,
    ),
    "kl": (losses.kl_divergence, lambda p, y: F.kl_div(p.log(), y, reduction="none").sum(-1), shares(1), shares(2)),
    "squared": (losses.mean_squared_error, lambda p, y: F.mse_loss(p, y, reduction="none").mean(-1), SCORES, REAL),
    "half squared": (
        losses.half_squared_error,
        lambda p, y: F.mse_loss(p, y, reduction="none").sum(-1) / 2,
        SCORES,
        REAL,
    ),
    "absolute": (losses.mean_absolute_error, lambda p, y: F.l1_loss(p, y, reduction="none").mean(-1), SCORES, REAL),
    "huber": (
        losses.huber(0.7),
        lambda p, y: F.huber_loss(p, y, reduction="none", delta=0.7).mean(-1),
        SCORES,
        REAL,
    ),
    "poisson": (
        losses.poisson_nll(),
        lambda p, y: F.poisson_nll_loss(p, y, reduction="none").mean(-1),
        SCORES,
        COUNTS,
    ),
    "poisson of rates": (
        losses.poisson_nll(log_input=False),
        lambda p, y: F.poisson_nll_loss(p, y, log_input=False, eps=0, reduction="none").mean(-1),  # 1e-8 unless told
        RATES,
        COUNTS,
    ),
    "gaussian": (
        losses.gaussian_nll(),
        lambda p, y: F.gaussian_nll_loss(p[0], y, p[1], reduction="none").mean(-1),
        (SCORES, RATES),
        REAL,
    ),
    "gaussian, full": (
        losses.gaussian_nll(full=True),
        lambda p, y: F.gaussian_nll_loss(p[0], y, p[1], full=True, reduction="none").mean(-1),
        (SCORES, RATES),
        REAL,
    ),
}  # fmt: skip


@pytest.mark.parametrize(("loss", "theirs", "predictions", "targets"), LOSSES.values(), ids=LOSSES)
def test_losses_agree_with_pytorch(loss, theirs, predictions, targets):
    given = jax.tree.map(lambda a: torch.tensor(a, requires_grad=True), predictions)
    out = theirs(given, torch.tensor(targets))
    out.sum().backward()
    values, grads = jax.jit(jax.vmap(lambda p, y: (loss.value(p, y), loss.grad(p, y))))(predictions, targets)
    agree(values, out.detach().numpy(), "value")
    for ours, other in zip(jax.tree.leaves(grads), jax.tree.leaves(given), strict=True):
        agree(ours, other.grad.numpy(), "gradient")


def test_the_full_poisson_likelihood_is_exact_where_pytorch_takes_stirlings_formula():
    ours = jax.vmap(losses.poisson_nll(full=True).value)(SCORES, COUNTS)
    theirs = F.poisson_nll_loss(torch.tensor(SCORES), torch.tensor(COUNTS), full=True, reduction="none").mean(-1)
    exact = F.poisson_nll_loss(torch.tensor(SCORES), torch.tensor(COUNTS), reduction="none")
    exact = (exact + torch.lgamma(torch.tensor(COUNTS) + 1)).mean(-1)
    agree(ours, exact.numpy(), "value")
    agree(ours, theirs.numpy(), "value", 0.03)
