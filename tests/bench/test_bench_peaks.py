import jax
import pytest

from purenet.bench import peaks
from purenet.bench.contests import Cost
from purenet.bench.peaks import Peak, Peaks, arithmetic_of, measure_peaks, shown_arithmetic
from purenet.bench.rating import rate

MADE = Peaks(
    {"float32 default": Peak("float32 default", 2e11, 1024), "bfloat16": Peak("bfloat16", 4e11, 1024)}, 1e10, 1e-5, 1e-2
)


def test_every_limit_is_measured(monkeypatch):
    monkeypatch.setattr(peaks, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(peaks, "_CPU_SIZES", (16, 32))
    monkeypatch.setattr(peaks, "_CPU_COPIED", 2**16)
    found = measure_peaks(quick=True, dtype="float16")
    assert list(found.matmul) == ["float32 default", "float32 high", "float32 highest", "bfloat16", "float16"]
    for name, peak in found.matmul.items():
        assert peak.arithmetic == name
        assert peak.size in (16, 32)
        assert peak.flops > 0
    assert found.bandwidth > 0
    assert 0 < found.dispatch < found.compile
    usual = measure_peaks(quick=True, dtype="float32").matmul
    assert list(usual) == ["float32 default", "float32 high", "float32 highest", "bfloat16"]


@pytest.mark.parametrize(
    ("cost", "arithmetic", "limit", "seconds"),
    [
        (Cost(10, 4 * 10**8, 10**6), "float32 default", "matmul", 2e-3),
        (Cost(10, 4 * 10**8, 10**6), "bfloat16", "matmul", 1e-3),
        (Cost(10, 4 * 10**8, 10**8), "float32 default", "memory", 1e-2),
    ],
)
def test_the_limit_is_the_longer_of_two_times(cost, arithmetic, limit, seconds):
    rates = rate(0.02, cost, arithmetic, MADE)
    assert (rates.limit, rates.limit_seconds) == (limit, pytest.approx(seconds))
    assert rates.of_limit == pytest.approx(seconds / 0.02)
    assert (rates.examples, rates.flops, rates.bytes) == (500.0, cost.flops / 0.02, cost.bytes / 0.02)


@pytest.mark.parametrize(
    ("precision", "key"),
    [
        (None, "float32 default"),
        ("default", "float32 default"),
        ("high", "float32 high"),
        ("tensorfloat32", "float32 high"),
        ("highest", "float32 highest"),
        ("float32", "float32 highest"),
    ],
)
def test_the_precision_in_force_names_the_peak(precision, key):
    with jax.default_matmul_precision(precision):
        assert arithmetic_of("float32") == key
        assert arithmetic_of("bfloat16") == "bfloat16"


@pytest.mark.parametrize(
    ("platform", "precision", "shown"),
    [
        ("cpu", None, "float32"),
        ("cpu", "highest", "float32"),
        ("gpu", None, "float32 (default: TF32 where the GPU has it)"),
        ("gpu", "high", "float32 (high)"),
        ("gpu", "highest", "float32 (highest)"),
        ("tpu", None, "float32 (default: bfloat16 products)"),
    ],
)
def test_the_precision_of_products_is_named(monkeypatch, platform, precision, shown):
    class Device:
        pass

    Device.platform = platform
    monkeypatch.setattr(peaks, "chosen_device", Device)
    with jax.default_matmul_precision(precision):
        assert shown_arithmetic("float32") == shown
        assert shown_arithmetic("bfloat16") == "bfloat16"


def test_a_product_that_this_device_has_not_is_left_out(monkeypatch):
    def refused(a, b, precision=None):
        raise jax.errors.JaxRuntimeError("UNIMPLEMENTED: no such product")

    monkeypatch.setattr(peaks, "_QUICK_SECONDS", 0.0)
    monkeypatch.setattr(peaks, "_CPU_COPIED", 2**16)
    monkeypatch.setattr(peaks.jnp, "matmul", refused)
    monkeypatch.setattr(peaks, "_on_cpu", lambda: False)
    monkeypatch.setattr(peaks, "_SIZES", (16,))
    monkeypatch.setattr(peaks, "_COPIED", 2**16)
    assert measure_peaks(quick=True).matmul == {}


def test_of_two_times_the_better_counts():
    other = Peaks(
        {"float32 default": Peak("float32 default", 3e11, 512), "bfloat16": Peak("bfloat16", 1e11, 512)},
        9e9,
        2e-5,
        5e-3,
    )
    joined = peaks.better(MADE, other)
    assert joined.matmul == {"float32 default": other.matmul["float32 default"], "bfloat16": MADE.matmul["bfloat16"]}
    assert joined[1:] == (1e10, 1e-5, 5e-3)
