"""Layers of vectors and space against PyTorch: outputs, gradients and running statistics, with the same weights."""

from typing import Any, NamedTuple

import jax
import numpy as np
import pytest
from peers.agreement import BATCH, agree, applied, cotangent, draw, drawn_params, out_shape, spec_of, trained

import purenet as pn

torch = pytest.importorskip("torch", reason="PyTorch is not installed: pip install purenet[peers]")
nn = torch.nn
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.usefixtures("x64")]


class Case(NamedTuple):
    net: Any
    module: Any
    shape: tuple
    inputs_first: bool = True  # whether PyTorch has the channels of x first
    outputs_first: bool = True


def seq(*modules):
    return nn.Sequential(*modules)


class Causal(nn.Conv1d):
    def forward(self, x):
        return super().forward(nn.functional.pad(x, [(self.kernel_size[0] - 1) * self.dilation[0], 0]))


CASES = {
    "dense": Case(pn.dense(4), lambda: nn.Linear(3, 4), (3,)),
    "dense, no bias": Case(pn.dense(4, bias=False), lambda: nn.Linear(3, 4, bias=False), (3,)),
    "each dense": Case(pn.each(pn.dense(4)), lambda: nn.Linear(3, 4), (5, 3), False, False),
    "mlp": Case(
        pn.serial(pn.dense(5), pn.tanh, pn.dense(2)), lambda: seq(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 2)), (3,)
    ),
    "conv1": Case(pn.conv(4, 3, padding=1), lambda: nn.Conv1d(3, 4, 3, padding=1), (9, 3)),
    "conv1, circular": Case(
        pn.conv(4, 3, padding="circular"), lambda: nn.Conv1d(3, 4, 3, padding=1, padding_mode="circular"), (9, 3)
    ),
    "conv1, causal": Case(
        pn.conv(4, 3, padding="causal", dilation=2),
        lambda: Causal(3, 4, 3, dilation=2),
        (9, 3),
    ),
    "conv2, same, odd": Case(pn.conv(4, (3, 5)), lambda: nn.Conv2d(2, 4, (3, 5), padding="same"), (6, 7, 2)),
    "conv2, same, even": Case(pn.conv(4, (2, 4)), lambda: nn.Conv2d(2, 4, (2, 4), padding="same"), (6, 7, 2)),
    "conv2, circular, even": Case(
        pn.conv(4, (3, 4), padding="circular"),
        lambda: nn.Conv2d(2, 4, (3, 4), padding="same", padding_mode="circular"),
        (5, 7, 2),
    ),
    "conv2, stride 3": Case(
        pn.conv(4, (3, 3), stride=3, padding=1), lambda: nn.Conv2d(2, 4, 3, stride=3, padding=1), (8, 7, 2)
    ),
    "conv2, strides and dilations": Case(
        pn.conv(4, (3, 2), stride=(2, 3), dilation=(2, 1), padding=((2, 2), (1, 1))),
        lambda: nn.Conv2d(2, 4, (3, 2), stride=(2, 3), dilation=(2, 1), padding=(2, 1)),
        (9, 8, 2),
    ),
    "conv2, groups": Case(
        pn.conv(6, (3, 3), groups=2, padding="valid"), lambda: nn.Conv2d(4, 6, 3, groups=2), (5, 6, 4)
    ),
    "conv2, valid, no bias": Case(
        pn.conv(3, (2, 2), stride=2, padding="valid", bias=False),
        lambda: nn.Conv2d(2, 3, 2, stride=2, bias=False),
        (5, 7, 2),
    ),
    "conv3": Case(
        pn.conv(3, (2, 3, 2), stride=(1, 2, 3), padding=1),
        lambda: nn.Conv3d(2, 3, (2, 3, 2), stride=(1, 2, 3), padding=1),
        (4, 5, 6, 2),
    ),
    "depthwise": Case(
        pn.depthwise_conv((3, 3), multiplier=2, stride=2, padding=1),
        lambda: nn.Conv2d(3, 6, 3, stride=2, padding=1, groups=3),
        (7, 6, 3),
    ),
    "separable": Case(
        pn.separable_conv(5, (3, 3), multiplier=2),
        lambda: seq(nn.Conv2d(3, 6, 3, padding=1, groups=3, bias=False), nn.Conv2d(6, 5, 1)),
        (5, 6, 3),
    ),
    "transpose1": Case(
        pn.conv_transpose(4, 5, stride=3, padding=2, output_padding=1),
        lambda: nn.ConvTranspose1d(3, 4, 5, stride=3, padding=2, output_padding=1),
        (6, 3),
    ),
    "transpose2": Case(
        pn.conv_transpose(4, (4, 3), stride=2, padding=1),
        lambda: nn.ConvTranspose2d(3, 4, (4, 3), stride=2, padding=1),
        (4, 5, 3),
    ),
    "transpose2, dilation": Case(
        pn.conv_transpose(2, (3, 2), stride=(2, 1), dilation=2, padding="valid", bias=False),
        lambda: nn.ConvTranspose2d(3, 2, (3, 2), stride=(2, 1), dilation=2, bias=False),
        (4, 5, 3),
    ),
    "transpose3": Case(
        pn.conv_transpose(2, (2, 3, 2), stride=2, padding="valid"),
        lambda: nn.ConvTranspose3d(2, 2, (2, 3, 2), stride=2),
        (2, 3, 2, 2),
    ),
    "max": Case(pn.max_pool((2, 2)), lambda: nn.MaxPool2d(2), (5, 6, 2)),
    "max, overlap": Case(
        pn.max_pool((3, 3), stride=2, padding=1), lambda: nn.MaxPool2d(3, stride=2, padding=1), (7, 6, 2)
    ),
    "max1": Case(pn.max_pool(3, stride=1), lambda: nn.MaxPool1d(3, stride=1), (7, 2)),
    "max3": Case(pn.max_pool((2, 2, 3)), lambda: nn.MaxPool3d((2, 2, 3)), (4, 5, 6, 2)),
    "mean": Case(pn.avg_pool((2, 3)), lambda: nn.AvgPool2d((2, 3)), (5, 6, 2)),
    "mean, overlap, pads counted": Case(
        pn.avg_pool((3, 3), stride=2, padding=1, count_padding=True),
        lambda: nn.AvgPool2d(3, stride=2, padding=1),
        (7, 6, 2),
    ),
    "mean, overlap, pads not counted": Case(
        pn.avg_pool((3, 3), stride=2, padding=1),
        lambda: nn.AvgPool2d(3, stride=2, padding=1, count_include_pad=False),
        (7, 6, 2),
    ),
    "global mean": Case(
        pn.global_avg_pool, lambda: seq(nn.AdaptiveAvgPool2d(1), nn.Flatten()), (4, 5, 3), True, False
    ),
    "global max": Case(pn.global_max_pool, lambda: seq(nn.AdaptiveMaxPool2d(1), nn.Flatten()), (4, 5, 3), True, False),
    "upsample": Case(pn.upsample((2, 3)), lambda: nn.Upsample(scale_factor=(2, 3)), (3, 4, 2)),
    "upsample, linear1": Case(
        pn.upsample(3, "linear"), lambda: nn.Upsample(scale_factor=3, mode="linear", align_corners=False), (5, 2)
    ),
    "upsample, linear2": Case(
        pn.upsample((2, 3), "linear"),
        lambda: nn.Upsample(scale_factor=(2, 3), mode="bilinear", align_corners=False),
        (3, 4, 2),
    ),
    "upsample, linear3": Case(
        pn.upsample((2, 2, 3), "linear"),
        lambda: nn.Upsample(scale_factor=(2, 2, 3), mode="trilinear", align_corners=False),
        (2, 3, 2, 1),
    ),
    "layer norm": Case(pn.layer_norm(), lambda: nn.LayerNorm(5), (4, 5), False, False),
    "layer norm, no offset": Case(
        pn.layer_norm(offset=False, epsilon=1e-3), lambda: nn.LayerNorm(5, eps=1e-3, bias=False), (5,)
    ),
    "layer norm, bare": Case(
        pn.layer_norm(offset=False, scale=False), lambda: nn.LayerNorm(5, elementwise_affine=False), (5,)
    ),
    "rms norm": Case(pn.rms_norm(), lambda: nn.RMSNorm(5, eps=1e-6), (4, 5), False, False),
    "group norm": Case(pn.group_norm(2), lambda: nn.GroupNorm(2, 6), (3, 4, 6)),
    "group norm of vectors": Case(pn.group_norm(2), lambda: nn.GroupNorm(2, 6), (6,)),
    "group norm, scale alone": Case(pn.group_norm(2, offset=False), lambda: nn.GroupNorm(2, 6), (4, 6)),
    "instance norm": Case(pn.instance_norm(), lambda: nn.InstanceNorm2d(3, affine=True), (4, 5, 3)),
    "instance norm, bare": Case(pn.instance_norm(scale=False, offset=False), lambda: nn.InstanceNorm1d(3), (4, 3)),
    "flattened": Case(
        pn.serial(pn.conv(4, (3, 3)), pn.max_pool((2, 2)), pn.flatten, pn.relu, pn.dense(5), pn.layer_norm()),
        lambda: seq(
            nn.Conv2d(2, 4, 3, padding=1), nn.MaxPool2d(2), nn.Flatten(), nn.ReLU(), nn.Linear(24, 5), nn.LayerNorm(5)
        ),
        (4, 6, 2),
        True,
        False,
    ),
    "flattened and normalised": Case(
        pn.serial(pn.conv(4, 3), pn.flatten, pn.layer_norm(), pn.dropout(0.0), pn.dense(5)),
        lambda: seq(nn.Conv1d(2, 4, 3, padding=1), nn.Flatten(), nn.LayerNorm(24), nn.Dropout(0.0), nn.Linear(24, 5)),
        (6, 2),
        True,
        False,
    ),
}  # fmt: skip


def theirs_of(a, first):
    """Puts the channels first, where PyTorch has them."""
    return np.ascontiguousarray(np.moveaxis(a, -1, 1)) if first else np.asarray(a)


def ours_of(a, first):
    a = a.detach().numpy()
    return np.moveaxis(a, 1, -1) if first else a


def load(module, arrays):
    """Loads every key into the module, none missing and none left over."""
    module.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()}, strict=True)


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_layers_agree_with_pytorch(case):
    xs = draw((BATCH, *case.shape))
    spec = spec_of(xs)
    params, state = drawn_params(case.net, spec)
    module = case.module().double()
    load(module, pn.convert.to_torch(case.net, params, state, spec))
    inputs_first, outputs_first = (flag and len(case.shape) > 1 for flag in case[3:])
    given = torch.tensor(theirs_of(xs, inputs_first), requires_grad=True)
    out = module(given)
    dys = cotangent(ours_of(out, outputs_first).shape)
    ys, _, dparams, dxs = trained(case.net, params, state, xs, dys)
    out.backward(torch.from_numpy(theirs_of(dys, outputs_first)))
    agree(ys, ours_of(out, outputs_first), "y")
    agree(jax.jit(lambda p, x: applied(case.net, p, state, x))(params, xs), ys, "y of inference")
    agree(dxs, ours_of(given.grad, inputs_first), "dJ/dx")
    grads = pn.convert.to_torch(case.net, dparams, state, spec)
    for name, parameter in module.named_parameters():
        if case.net.name == "group_norm" and name == "bias" and "offset" not in params:
            continue  # theirs alone
        agree(grads[name], parameter.grad.numpy(), f"dJ/d{name}")


NORMS = {
    "vectors": (pn.batch_norm(), lambda: nn.BatchNorm1d(3), (3,)),
    "images": (pn.batch_norm(momentum=0.7, epsilon=1e-3), lambda: nn.BatchNorm2d(3, momentum=0.3, eps=1e-3), (4, 2, 3)),
    "bare": (pn.batch_norm(scale=False, offset=False), lambda: nn.BatchNorm1d(3, affine=False), (4, 3)),
    "after flatten": (
        pn.serial(pn.conv(2, (2, 2)), pn.flatten, pn.batch_norm(), pn.dense(2)),
        lambda: seq(nn.Conv2d(3, 2, 2, padding="same"), nn.Flatten(), nn.BatchNorm1d(12), nn.Linear(12, 2)),
        (3, 2, 3),
    ),
}  # fmt: skip


@pytest.mark.parametrize(("net", "make", "shape"), NORMS.values(), ids=NORMS)
def test_batch_norm_agrees_with_pytorch_over_several_steps(net, make, shape):
    spec, first = pn.spec(shape, np.float64), len(shape) > 1
    params, state = drawn_params(net, spec)
    module = make().double()
    load(module, pn.convert.to_torch(net, params, state, spec))
    for step in range(3):
        xs = 2 + 3 * draw((5, *shape), seed=step)
        given = torch.tensor(theirs_of(xs, first), requires_grad=True)
        module.zero_grad()
        out = module.train()(given)
        same = first and out.ndim > 2
        dys = cotangent(ours_of(out, same).shape)
        out.backward(torch.from_numpy(theirs_of(dys, same)))
        ys, state, dparams, dxs = trained(net, params, state, xs, dys)
        agree(ys, ours_of(out, same), "y")
        agree(dxs, ours_of(given.grad, first), "dJ/dx", 1e-10)
        grads = pn.convert.to_torch(net, dparams, state, spec)
        for name, parameter in module.named_parameters():
            agree(grads[name], parameter.grad.numpy(), f"dJ/d{name}", 1e-10)
        for name, buffer in module.named_buffers():
            if "num_batches" not in name:
                agree(pn.convert.to_torch(net, params, state, spec)[name], buffer.numpy(), name)
    out = module.eval()(given)
    agree(applied(net, params, state, xs), ours_of(out, same), "y of inference")
    arrays = {name: value.numpy(force=True) for name, value in module.state_dict().items()}
    again = pn.convert.from_torch(net, arrays, spec)
    agree(applied(net, *again, xs), ours_of(out, same), "y with their weights")


def test_outputs_have_the_shapes_that_numbers_say():
    """SAME with a stride, which PyTorch has not, is its convolution of a padded input."""
    net = pn.conv(4, (3, 2), stride=2)
    xs = draw((BATCH, 7, 8, 2))
    params, state = drawn_params(net, spec_of(xs))
    module = nn.Conv2d(2, 4, (3, 2), stride=2).double()
    load(module, pn.convert.to_torch(net, params, state))
    out = module(nn.functional.pad(torch.tensor(theirs_of(xs, True)), [0, 0, 1, 1]))
    assert out_shape(net, params, state, xs) == (BATCH, 4, 4, 4)
    agree(applied(net, params, state, xs), ours_of(out, True), "y")
