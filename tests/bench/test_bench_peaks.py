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
    ("platform", "shown"),
    [("cpu", "float32"), ("gpu", "float32 (TF32 products)"), ("tpu", "float32 (bfloat16 products)")],
)
def test_coarser_products_are_named(monkeypatch, platform, shown):
    class Device:
        pass

    Device.platform = platform
    monkeypatch.setattr(peaks, "chosen_device", Device)
    assert shown_arithmetic("float32") == shown
    assert shown_arithmetic("bfloat16") == "bfloat16"
    with jax.default_matmul_precision("highest"):
        assert shown_arithmetic("float32") == "float32"
