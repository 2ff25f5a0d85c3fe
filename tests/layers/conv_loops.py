"""Convolutions as loops over single numbers: a reference of another make."""

import itertools

import numpy as np


def correlated(x, kernel, bias, *, stride, pads, dilation, groups, circular=False):
    """One example (space…, C) by definition: y[o, f] = Σ_t Σ_c x[s∘o + d∘t - p, c] W[t, c, f] + b[f]."""
    *window, per_group, features = kernel.shape
    space = x.shape[:-1]
    out = [
        (n + low + high - (w - 1) * d - 1) // s + 1
        for n, (low, high), w, d, s in zip(space, pads, window, dilation, stride, strict=True)
    ]
    y = np.zeros((*out, features))
    for place in itertools.product(*map(range, out)):
        for tap in itertools.product(*map(range, window)):
            at = [s * o + d * t - low for o, t, s, d, (low, _) in zip(place, tap, stride, dilation, pads, strict=True)]
            if circular:
                at = [i % n for i, n in zip(at, space, strict=True)]
            elif not all(0 <= i < n for i, n in zip(at, space, strict=True)):
                continue
            for f in range(features):
                first = f // (features // groups) * per_group
                y[(*place, f)] += sum(x[(*at, first + c)] * kernel[(*tap, c, f)] for c in range(per_group))
    return y if bias is None else y + bias


def stamped(x, kernel, bias, *, stride, before, dilation, out):
    """One example of a transposed convolution: y[s∘i + d∘t - p, f] += x[i, c] W[t, c, f]."""
    *window, channels, features = kernel.shape
    y = np.zeros((*out, features))
    for place in itertools.product(*map(range, x.shape[:-1])):
        for tap in itertools.product(*map(range, window)):
            at = tuple(s * i + d * t - p for i, t, s, d, p in zip(place, tap, stride, dilation, before, strict=True))
            if all(0 <= i < n for i, n in zip(at, out, strict=True)):
                for c, f in itertools.product(range(channels), range(features)):
                    y[(*at, f)] += x[(*place, c)] * kernel[(*tap, c, f)]
    return y if bias is None else y + bias
