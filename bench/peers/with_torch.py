"""PyTorch: eager with its fused Adam, and torch.compile in the two ways that its documentation has for a whole step.

The tutorial's compiled train function breaks its graph at `backward`; with `torch.func.grad` gradient and optimizer are
one graph, and with the C++ wrapper its launches leave Python too, which is the fast way for small networks.
"""

import itertools

import models_in_torch
import torch
from torch import nn

PACKAGES = ("torch",)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _make(problem, fused):
    model, places = models_in_torch.make(problem)
    model.to(DEVICE)
    learned = [parameter for parameter in model.parameters() if parameter.requires_grad]
    # Compiled, the plain Adam is fused with its neighbours; "fused" would be a call from there.
    optimizer = torch.optim.Adam(learned, lr=problem.rate, fused=fused)
    xs, ys = torch.from_numpy(problem.xs).to(DEVICE), torch.from_numpy(problem.ys).to(DEVICE)
    if problem.kind == "cnn":
        xs = xs.permute(0, 1, 4, 2, 3).contiguous()  # channels first, as its documentation has them
    elif problem.kind == "transformer":
        xs = xs.long()
    if problem.loss == "half_squared_error":

        def loss_fn(outputs, y):
            return 0.5 * nn.functional.mse_loss(outputs, y) * y.shape[1]  # the mean is also over outputs

    else:
        ys = ys.long()

        def loss_fn(outputs, y):
            return nn.functional.cross_entropy(outputs.view(-1, outputs.shape[-1]), y.view(-1))

    @torch.no_grad()
    def start():
        # In place, as what is compiled holds these very tensors.
        for layer, arrays in zip(places, problem.weights, strict=True):
            for (parameter, into, _), array in zip(layer, arrays, strict=True):
                parameter.copy_(torch.from_numpy(into(array).copy()))
        for value in itertools.chain.from_iterable(state.values() for state in optimizer.state.values()):
            value.zero_()

    @torch.no_grad()
    def weights(_):
        return [tuple(back(parameter.cpu().numpy()).copy() for parameter, _, back in layer) for layer in places]

    def loop(train_step):
        def run(_):
            for x, y in batches:
                train_step(x, y)
            if DEVICE.type == "cuda":
                torch.cuda.synchronize()

        return start, run, weights

    batches = list(zip(xs, ys, strict=True))
    return model, optimizer, loss_fn, loop


def _step(model, optimizer, loss_fn):
    def train_step(x, y):
        optimizer.zero_grad(set_to_none=True)
        loss_fn(model(x), y).backward()
        optimizer.step()

    return train_step


def eager(problem):
    """The training loop of every tutorial."""
    *parts, loop = _make(problem, fused=True)
    return loop(_step(*parts))


def compiled(problem):
    """The same step, compiled."""
    *parts, loop = _make(problem, fused=False)
    return loop(torch.compile(_step(*parts)))


def functional(problem):
    """One graph of gradient and optimizer."""
    model, optimizer, loss_fn, loop = _make(problem, fused=False)
    params = {name: param for name, param in model.named_parameters() if param.requires_grad}

    def compute_loss(params, x, y):
        return loss_fn(torch.func.functional_call(model, params, (x,)), y)

    @torch.compile(options={"cpp_wrapper": True})
    def train_step(x, y):
        grads = torch.func.grad(compute_loss)({name: param.detach() for name, param in params.items()}, x, y)
        for name, param in params.items():
            param.grad = grads[name]
        optimizer.step()

    return loop(train_step)


CONTENDERS = {
    "PyTorch": eager,
    "PyTorch, torch.compile": compiled,
    "PyTorch, torch.compile of torch.func": functional,
}
