"""What a hostile run must not hide from diagnose."""

import numpy as np
import optax
from insight.sick_networks import case

from purenet.insight.diagnosing import diagnose
from purenet.insight.judging_training import _diverging


def test_a_negative_rate_is_told():
    arguments, options = case(optimizer=optax.sgd(-0.1))
    finding = diagnose(*arguments, **{**options, "optimizer": optax.sgd(-0.1), "sharpness": False}).findings[0]
    assert (finding.name, finding.severity) == ("rate_too_high", "error")
    assert "a sign is wrong" in finding.message


def test_a_short_history_that_ends_in_nan_is_told():
    (finding,) = _diverging(np.array([1.0, 0.5, np.nan]))
    assert finding.name == "diverging"
    assert not list(_diverging(np.array([])))
