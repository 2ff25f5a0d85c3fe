"""What fit and evaluate refuse: each message whole."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from core.fits import ADAM, LOSS, METRICS, NET, data, fit
from refusals import refuses

import purenet as pn


def interrupted(inside, begin=0):
    state = pn.train_state(NET, ADAM, jax.random.key(0), pn.spec(2))
    return state._replace(begin=jnp.int32(begin), step=jnp.int32(begin + inside))


XS, LABELS = data()
BAD = {
    "labels from 1": (
        lambda: fit((XS, LABELS + 1)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "a negative label": (
        lambda: fit((XS, LABELS - 1)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "a bad label in validation": (
        lambda: fit(validation=(XS, LABELS + 5)),
        ValueError,
        re.compile(r"softmax_cross_entropy: expected .*"),
    ),
    "NaN": (
        lambda: fit((np.where(XS > 1, np.nan, XS).astype(np.float32), LABELS)),
        ValueError,
        re.compile(r"check_data: expected finite values in data\[0\], got \d+ NaN or infinite of 100, .*"),
    ),
    "float64": (
        lambda: fit((XS.astype(np.float64), LABELS)),
        TypeError,
        "check_data: expected float32 in data[0] while JAX's 64-bit mode is off, got float64. "
        'Use x.astype(np.float32) or jax.config.update("jax_enable_x64", True).',
    ),
    "other lengths": (
        lambda: fit((XS, LABELS[:-1])),
        ValueError,
        "check_data: expected equal leading lengths, got 50 in data[0] and 49 in data[1]. "
        "Give every example one row in each array.",
    ),
    "nothing": (
        lambda: fit((XS[:0], LABELS[:0])),
        ValueError,
        "check_data: expected at least one value in data[0], got shape (0, 2). Check how the data was selected.",
    ),
    "no targets": (
        lambda: fit(XS),
        TypeError,
        "fit: expected a batch (xs, ys) or (xs, ys, weights), got float32 of shape (50, 2). Pass a tuple of arrays.",
    ),
    "batch_size 0": (
        lambda: fit(batch_size=0),
        ValueError,
        "fit: expected batch_size of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "batch_size above n": (
        lambda: fit(batch_size=51),
        ValueError,
        "fit: expected batch_size from 1 to 50, the number of examples, got 51. Use None for all of them at once.",
    ),
    "no key": (
        lambda: fit(key=None),
        TypeError,
        "fit: expected a JAX random key, got None. Make one with jax.random.key(0).",
    ),
    "an unknown gradient": (
        lambda: fit(gradient="magic"),
        ValueError,
        "fit: expected gradient to be one of ('autodiff', 'backprop'), got 'magic'. Choose one of them.",
    ),
    "a network without layers": (
        lambda: fit(net=None),
        TypeError,
        "fit: expected a layer or a function of one example, got None. "
        "Give layers as separate arguments, such as pn.serial(pn.dense(3), pn.relu).",
    ),
    "patience without validation": (
        lambda: fit(patience=3),
        ValueError,
        "fit: expected monitor to be one of ['loss'], got 'val_loss'. "
        "Choose one of them, or pass validation=(xs, ys) for val_ ones.",
    ),
    "no patience": (
        lambda: fit(patience=0, validation=(XS, LABELS)),
        ValueError,
        "fit: expected patience of 1 or more, got 0. Give an int of 1 or more.",
    ),
    "a callback that answers": (
        lambda: fit(callbacks=[lambda end: end.epoch]),
        TypeError,
        "fit: expected a callback to return True to stop, a TrainState to go on with, or False or None, got 1. "
        "Give it no other return value.",
    ),
    "weights of zero": (
        lambda: fit((XS, LABELS, np.eye(1, 50, dtype=np.float32)[0])),
        ValueError,
        "fit: expected weights above 0, got 0.0 at index 1 (49 such). "
        "Leave those examples out, such as xs[weights > 0].",
    ),
    "another network's state": (
        lambda: fit(net=pn.dense(3), key=None, state=fit(epochs=1).train_state),
        TypeError,
        "dense: expected params to be a dict of ['bias', 'kernel'], got a tuple of 4. "
        "Pass the params that this network's init made.",
    ),
    "a key and a state": (
        lambda: fit(state=fit(epochs=1).train_state),
        TypeError,
        "fit: expected a key or a state, got both. The state has a key of its own: leave key out.",
    ),
    "a state that is none": (
        lambda: fit(state=fit(epochs=1), key=None),
        TypeError,
        "fit: expected a TrainState, got a FitResult. Pass its field train_state.",
    ),
    "an interrupted epoch of another length": (
        lambda: fit(state=interrupted(5), key=None, batch_size=10),
        ValueError,
        "fit: expected a state at most 4 updates into an epoch of 5, got one 5 updates into an interrupted epoch. "
        "Pass the data and batch_size that it was interrupted with.",
    ),
    "more updates than int32 counts": (
        lambda: fit(state=interrupted(0, 2**31 - 3), key=None),
        ValueError,
        "fit: expected at most 2147483647 updates in all, got 2147483645 done and 21 to come. "
        "Lower epochs, or begin again from these params with pn.train_state(…, params=…).",
    ),
    "a callback alone": (
        lambda: fit(callbacks=print),
        TypeError,
        "fit: expected callbacks to be a list of functions of an EpochEnd, got a builtin_function_or_method. "
        "Such as callbacks=[report].",
    ),
    "monitor without patience": (
        lambda: fit(monitor="loss"),
        ValueError,
        "fit: expected patience with monitor='loss', got none. Such as patience=3.",
    ),
    "patience on many numbers": (
        lambda: fit(metrics={"p": pn.metrics.precision(None)}, patience=1, monitor="p"),
        ValueError,
        "fit: expected monitor to be one of ['loss'], got 'p'. "
        "Choose one of them, or pass validation=(xs, ys) for val_ ones.",
    ),
    "negative weights for a metric alone": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, (*data(), -np.ones(50, np.float32)), metrics=METRICS),
        ValueError,
        "evaluate: expected weights above 0, got -1.0 at index 0 (50 such). "
        "Leave those examples out, such as xs[weights > 0].",
    ),
    "a share for validation": (
        lambda: fit(validation=0.2),
        TypeError,
        "fit: expected validation to be (xs, ys), got 0.2. pn.data.split cuts a data set into parts.",
    ),
    "a result for params": (
        lambda: pn.evaluate(NET, fit(epochs=1), data(), loss=LOSS),
        TypeError,
        "evaluate: expected params, got a FitResult. Pass its field params.",
    ),
    "evaluation inside jit": (
        lambda: jax.jit(lambda params: pn.evaluate(NET, params, data(), loss=LOSS))(fit(epochs=1).params),
        TypeError,
        "evaluate: expected concrete params, got traced ones. It works on the host: inside jit, vmap and grad use "
        "jax.vmap(net.apply, (None, 0)) and a loss or metric of its result.",
    ),
    "an evaluation's batch_size": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, data(), loss=LOSS, batch_size="all"),
        TypeError,
        "evaluate: expected batch_size to be a whole number, got 'all'. Give an int of 1 or more.",
    ),
    "nothing to evaluate": (
        lambda: pn.evaluate(NET, fit(epochs=1).params, data()),
        ValueError,
        "evaluate: expected a loss or metrics, got neither. Pass loss=…, metrics={…} or both.",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_in_whole_sentences(case):
    function, kind, message = BAD[case]
    if isinstance(message, str):
        with refuses(kind, message):
            function()
    else:
        with pytest.raises(kind) as caught:
            function()
        assert message.fullmatch(str(caught.value)), caught.value
