"""diagnose: measures a run, and says in plain words what is wrong with it."""

from collections.abc import Mapping
from typing import Any

from purenet.contract import as_layer
from purenet.errors import ShapeError, StructureError, by, describe, expect_flags, is_whole
from purenet.insight.examining import Asked, checked_data, examine
from purenet.insight.findings import Diagnosis
from purenet.losses.base import as_loss
from purenet.optimizers import as_optimizer
from purenet.updates import TrainState, expect_state, plan_epochs


def diagnose(
    net: Any,
    loss: Any,
    state: TrainState,
    data: Any,
    *,
    optimizer: Any = None,
    validation: Any = None,
    history: Mapping[str, Any] | None = None,
    batch_size: int | None = 32,
    key: Any = None,
    sharpness: bool = True,
    spectrum: int = 0,
    memorisation: bool = False,
) -> Diagnosis:
    """Measures a run and says in plain words what is wrong with it, the deepest cause first.

    It looks at some hundred examples: inputs, targets and labels; what the network ends in and whether that suits the
    loss; the first loss against ln C; initialisation; dead and saturated units; every layer's gradient; with
    `optimizer`, the next update and what it does to the loss; the largest curvature λ against the learning rate, which
    for plain descent should stay around 2/λ; the gradient's noise scale. All of it takes less time than 20 updates of a
    784-128-10 network, once compiled. Layers inside a loop of the network's own, such as `repeat`, are seen as one, and
    what cannot be judged is left out.

    Args:
      net: a layer.
      loss: one of `pn.losses`, or a function of one prediction and target; of the latter less is known.
      state: the run: what `train_state` made, or `result.train_state` of `fit`. Nothing of it changes.
      data: `(xs, ys)` or `(xs, ys, weights)`, the training data.
      optimizer: the optax optimizer of the run, to judge its updates.
      validation: the validation data, to look for examples that are in both.
      history: `result.history` of `fit`, to judge the course of the losses.
      batch_size: examples per update, as in `fit`; None for all at once.
      key: a JAX random key that chooses the examples; the run's own unless told.
      sharpness: whether to measure curvature.
      spectrum: how many of the largest eigenvalues of the Hessian to measure beside it, 0 for none; it takes several
        times as many Hessian-vector products, and memory for as many copies of the params.
      memorisation: whether to train on the side, three times 300 updates: can it learn one mini-batch by heart, and
        does it learn the real targets faster than permuted ones?

    Returns:
      A `Diagnosis`: its findings and measurements; `print` shows a report.

    Raises:
      StructureError: if an argument is not what it should be.
      ShapeError: for sizes out of range, and for examples that the network or the loss does not take.

    References:
      Karpathy (2019), A recipe for training neural networks.
      McCandlish et al. (2018), An empirical model of large-batch training.
      Cohen, Kaur, Li, Kolter and Talwalkar (2021), Gradient descent on neural networks typically occurs at the edge of
      stability.

    Example:
      >>> import jax, jax.numpy as jnp, optax, purenet as pn
      >>> net = pn.serial(pn.dense(8, kernel_init=jax.nn.initializers.zeros), pn.relu, pn.dense(1))
      >>> state = pn.train_state(net, optax.sgd(0.1), jax.random.key(0), pn.spec(2))
      >>> xs = jax.random.normal(jax.random.key(1), (64, 2))
      >>> diagnosis = pn.diagnose(net, pn.losses.half_squared_error, state, (255 * xs, xs[:, :1]))
      >>> diagnosis.findings[0].name, diagnosis.healthy
      ('inputs_unscaled', False)
    """
    expect_flags("diagnose", sharpness=sharpness, memorisation=memorisation)
    with by("diagnose"):
        net, loss = as_layer(net), as_loss(loss)
        optimizer = None if optimizer is None else as_optimizer(optimizer)
        expect_state(state)
        batch = checked_data(data)
        other = None if validation is None else checked_data(validation)
        size = plan_epochs(batch.size, batch_size).size
        _expect_spectrum(spectrum)
        _expect_history(history)
        asked = Asked(net, loss, optimizer, batch, other, size, sharpness, spectrum, memorisation)
        return examine(asked, state, history or {}, state.key if key is None else key)


def _expect_spectrum(spectrum: Any) -> None:
    if not is_whole(spectrum):
        raise StructureError(f"expected spectrum to be a whole number, got {describe(spectrum)}. Give an int.")
    if spectrum < 0:
        raise ShapeError(f"expected spectrum of 0 or more, got {spectrum}. Give the number of eigenvalues.")


def _expect_history(history: Any) -> None:
    if history is not None and not isinstance(history, Mapping):
        raise StructureError(
            f"expected history to be a dict of losses by name, got {describe(history)}. Pass result.history of pn.fit."
        )
