"""What all comparisons with other libraries share."""

import pytest


@pytest.fixture(autouse=True)
def _quick(quick_compilation):
    """Every comparison compiles once and runs once."""


@pytest.fixture(scope="module")
def keras_float64():
    """Keras on JAX turns float64 into float32 wherever dtypes meet; here it must not."""
    keras = pytest.importorskip("keras", reason="Keras is not installed: pip install purenet[peers]")
    dtypes = pytest.importorskip("keras.src.backend.common.dtypes")
    keras.config.set_floatx("float64")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
        yield
    keras.config.set_floatx("float32")
