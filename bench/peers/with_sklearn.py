"""scikit-learn's `MLPRegressor` and `MLPClassifier` with Adam: one call of `fit`, on the mini-batches end to end.

It cuts them again in the same order. That is its fast way: `partial_fit` would check its arguments at every update.
It computes on the CPU, wherever the others do.
"""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier, MLPRegressor

PACKAGES = ("scikit-learn", "numpy", "scipy")


class _Given:
    """Begins with the problem's weights: there is no public way to, as fit draws them."""

    def _init_coef(self, fan_in, fan_out, dtype):
        kernel, bias = self.given[len(self.coefs_)]
        assert kernel.shape == (fan_in, fan_out)
        return kernel.astype(dtype), bias.astype(dtype)


class _Regressor(_Given, MLPRegressor):
    pass


class _Classifier(_Given, MLPClassifier):
    pass


def fit(problem):
    """One call of fit, one pass over the mini-batches end to end, and a new estimator every time."""
    xs = problem.xs.reshape(-1, problem.widths[0])
    ys = problem.ys.reshape(len(xs), -1)
    ys = ys[:, 0] if ys.shape[1] == 1 else ys
    kind = _Regressor if problem.loss == "half_squared_error" else _Classifier

    def start():
        estimator = kind(
            hidden_layer_sizes=problem.widths[1:-1],
            activation=problem.activation,
            solver="adam",
            alpha=0.0,
            batch_size=problem.xs.shape[1],
            learning_rate_init=problem.rate,
            max_iter=1,
            shuffle=False,
            tol=0.0,
            n_iter_no_change=1_000,
        )
        estimator.given = problem.weights
        return estimator

    def run(estimator):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # one pass is what was asked for
            return estimator.fit(xs, ys)

    def weights(estimator):
        return [(np.asarray(k), np.asarray(b)) for k, b in zip(estimator.coefs_, estimator.intercepts_, strict=True)]

    return start, run, weights


CONTENDERS = {"scikit-learn": fit}
