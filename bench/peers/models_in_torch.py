"""The networks of the yardstick as PyTorch modules, written as its documentation and nanoGPT write them.

`make(problem)` gives the module, and for each array of `Problem.weights` the parameter that holds it, with functions
that turn the array into the parameter's layout and back.
"""

import itertools

import torch
from torch import nn
from yardsticks import HEAD


class LastOutput(nn.Module):
    """An LSTM over the sequence, of which the last output remains."""

    def __init__(self, inputs, hidden):
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True)
        # PyTorch adds two biases; one of them stays at zero, so that both libraries learn the same.
        for bias in (self.lstm.bias_hh_l0,):
            nn.init.zeros_(bias)
            bias.requires_grad_(False)

    def forward(self, x):
        """From (B, T, inputs) to (B, hidden)."""
        return self.lstm(x)[0][:, -1]


class Attention(nn.Module):
    """Causal self-attention, with queries, keys and values from one product."""

    def __init__(self, width):
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width, bias=False)

    def forward(self, x):
        """From (B, T, width) to the same."""
        batch, length, width = x.shape
        q, k, v = (part.view(batch, length, -1, HEAD).transpose(1, 2) for part in self.qkv(x).split(width, dim=2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).contiguous().view(batch, length, width))


class Block(nn.Module):
    """A block of the transformer, norms first."""

    def __init__(self, width):
        super().__init__()
        self.first, self.attention = nn.LayerNorm(width, bias=False), Attention(width)
        self.second = nn.LayerNorm(width, bias=False)
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x):
        """From (B, T, width) to the same."""
        x = x + self.attention(self.first(x))
        return x + self.down(nn.functional.gelu(self.up(self.second(x))))


class Transformer(nn.Module):
    """Tokens to logits, the embedding tied to the output."""

    def __init__(self, tokens, length, width, blocks):
        super().__init__()
        self.embedding, self.positions = nn.Embedding(tokens, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width) for _ in range(blocks)))
        self.last = nn.LayerNorm(width, bias=False)
        self.register_buffer("places", torch.arange(length))

    def forward(self, x):
        """From (B, T) to (B, T, tokens)."""
        h = self.embedding(x) + self.positions(self.places[: x.shape[1]])
        return nn.functional.linear(self.last(self.blocks(h)), self.embedding.weight)


def make(problem):
    """The module and [[(parameter, into its layout, and back), …] for each layer]."""
    return _MAKERS[problem.kind](problem)


def _same(a):
    return a


def _linear(layer):
    turned = [(layer.weight, lambda a: a.T, lambda a: a.T)]
    return turned if layer.bias is None else [*turned, (layer.bias, _same, _same)]


def _mlp(problem):
    layers = [nn.Linear(inputs, outputs) for inputs, outputs in itertools.pairwise(problem.widths)]
    activation = {"tanh": nn.Tanh, "relu": nn.ReLU}[problem.activation]
    model = nn.Sequential(*[part for layer in layers for part in (layer, activation())][:-1])
    return model, [_linear(layer) for layer in layers]


def _cnn(problem):
    parts, places, sides = [], [], problem.xs.shape[2:4]
    convolutions = [kernel.shape for kernel, _ in problem.weights if kernel.ndim == 4]
    for height, width, inputs, outputs in convolutions:
        convolution = nn.Conv2d(inputs, outputs, (height, width), padding="same")
        parts += [convolution, nn.ReLU(), nn.MaxPool2d(2)]
        places.append(
            [
                (convolution.weight, lambda a: a.transpose(3, 2, 0, 1), lambda a: a.transpose(2, 3, 1, 0)),
                (convolution.bias, _same, _same),
            ]
        )
        sides = sides[0] // 2, sides[1] // 2
    dense = [nn.Linear(*kernel.shape) for kernel, _ in problem.weights[len(convolutions) :]]
    parts += [nn.Flatten(), *[part for layer in dense for part in (layer, nn.ReLU())][:-1]]
    space, channels = (*sides, outputs), (outputs, *sides)  # flattened: channels last here, first in PyTorch

    def into(a):
        return a.reshape(*space, -1).transpose(3, 2, 0, 1).reshape(a.shape[1], -1)

    def back(a):
        return a.reshape(-1, *channels).transpose(2, 3, 1, 0).reshape(-1, len(a))

    first, *others = map(_linear, dense)
    return nn.Sequential(*parts), [*places, [(first[0][0], into, back), first[1]], *others]


def _lstm(problem):
    (kernel, recurrent, _), (dense, _) = problem.weights
    last, linear = LastOutput(kernel.shape[0], recurrent.shape[0]), nn.Linear(*dense.shape)
    lstm = last.lstm
    places = [
        (lstm.weight_ih_l0, lambda a: a.T, lambda a: a.T),
        (lstm.weight_hh_l0, lambda a: a.T, lambda a: a.T),
        (lstm.bias_ih_l0, _same, _same),
    ]
    return nn.Sequential(last, linear), [places, _linear(linear)]


def _transformer(problem):
    (embedding, positions), *blocks, _ = problem.weights
    model = Transformer(*embedding.shape[:1], *positions.shape, len(blocks))
    places = [[(model.embedding.weight, _same, _same), (model.positions.weight, _same, _same)]]
    for block in model.blocks:
        scale, second = (block.first.weight, _same, _same), (block.second.weight, _same, _same)
        kernels = [_linear(one)[0] for one in (block.attention.qkv, block.attention.out, block.up, block.down)]
        places.append([scale, *kernels[:2], second, *kernels[2:]])
    return model, [*places, [(model.last.weight, _same, _same)]]


_MAKERS = {"mlp": _mlp, "cnn": _cnn, "lstm": _lstm, "transformer": _transformer}
