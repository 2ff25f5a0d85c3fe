"""PyTorch: eager with its fused Adam, and torch.compile in the two ways that its documentation has for a whole step.

The tutorial's compiled train function breaks its graph at `backward`; with `torch.func.grad` gradient and optimizer are
one graph, and with the C++ wrapper its launches leave Python too, which is the fast way for small networks.
"""

import itertools

import torch
from torch import nn

PACKAGES = ("torch",)
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def _make(problem, fused):
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(problem.widths)]
    activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[problem.activation]
    model = nn.Sequential(*[part for layer in layers for part in (layer, activation())][:-1]).to(DEVICE)
    # Compiled, the plain Adam is fused with its neighbours; "fused" would be a call from there.
    optimizer = torch.optim.Adam(model.parameters(), lr=problem.rate, fused=fused)
    xs, ys = torch.from_numpy(problem.xs).to(DEVICE), torch.from_numpy(problem.ys).to(DEVICE)
    if problem.loss == "half_squared_error":

        def loss_fn(outputs, y):
            return 0.5 * nn.functional.mse_loss(outputs, y) * y.shape[1]  # the mean is also over outputs

    else:
        loss_fn, ys = nn.functional.cross_entropy, ys.long()

    @torch.no_grad()
    def start():
        # In place, as what is compiled holds these very tensors.
        for layer, (kernel, bias) in zip(layers, problem.weights, strict=True):
            layer.weight.copy_(torch.from_numpy(kernel.T))
            layer.bias.copy_(torch.from_numpy(bias))
        for value in itertools.chain.from_iterable(state.values() for state in optimizer.state.values()):
            value.zero_()

    @torch.no_grad()
    def weights(_):
        return [(layer.weight.cpu().numpy().T.copy(), layer.bias.cpu().numpy().copy()) for layer in layers]

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
    params = dict(model.named_parameters())

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
