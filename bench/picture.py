"""The picture of a file of results: bars on a log scale, and the roofline with all that was measured under it."""

import matplotlib as mpl
import numpy as np

from purenet.bench.records import peaks_of_record
from purenet.bench.tables import show_time

mpl.use("Agg")
import matplotlib.pyplot as plt

_OURS, _THEIRS, _LINE = "#c2410c", "#94a3b8", "#334155"


def draw(record, rows, path):
    """Writes the picture as a PNG file: the rows, under the peaks of the record."""
    rows = [row for row in rows if row.error is None and row.seconds]
    peaks = peaks_of_record(record)
    bars = _chosen(rows)
    height = max(6, 2 + 0.17 * len(bars))
    figure, (left, right) = plt.subplots(1, 2, figsize=(13, height), width_ratios=(3, 2), layout="constrained")
    _bars(left, bars)
    _roofline(right, rows, peaks)
    figure.suptitle(f"{record['machine']['device']}, {record['machine']['cores']} CPU cores, {record['date'][:10]}")
    figure.savefig(path, dpi=110, metadata={"Software": None})
    plt.close(figure)


def _chosen(rows):
    """Training steps beside peers, if there were any; else those measured in one process."""
    steps = [row for row in rows if row.suite.startswith("train-") and row.rates is not None]
    raced = any(row.process for row in steps)
    return [row for row in steps if row.process == raced and "beside its products" not in row.case]


def _bars(axes, chosen):
    """The time of a step, a group of bars per network."""
    ticks, labels, place = [], [], 0.0
    for case in dict.fromkeys(row.case for row in chosen):
        group = [row for row in chosen if row.case == case]
        for row in group:
            ours = row.contender.startswith(("pn.", "fit"))
            axes.barh(place, row.median, color=_OURS if ours else _THEIRS)
            axes.text(row.median * 1.1, place, show_time(row.median), va="center", fontsize=7, color=_LINE)
            ticks.append(place)
            labels.append(row.contender)
            place += 1
        axes.text(
            1.0,
            place - len(group) - 0.8,
            case.removesuffix(", beside peers"),
            fontsize=9,
            weight="bold",
            transform=axes.get_yaxis_transform(),
            ha="right",
            va="bottom",
        )
        place += 1.2
    axes.set_yticks(ticks, labels, fontsize=7)
    axes.invert_yaxis()
    axes.set_xscale("log")
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 3)
    axes.set_xlabel("seconds per training step, log scale")
    axes.spines[["top", "right"]].set_visible(False)


def _roofline(axes, rows, peaks):
    """What the measured peaks allow at each ratio of arithmetic to bytes, and where the training steps lie."""
    axes.set(xscale="log", yscale="log", xlabel="floating-point operations per byte moved", ylabel="GFLOP/s")
    axes.spines[["top", "right"]].set_visible(False)
    rated = [row for row in rows if row.rates is not None and not row.process and row.suite.startswith("train-")]
    if peaks is None or not rated:
        return
    intensity = np.geomspace(0.05, 2000, 200)
    for name in dict.fromkeys(_key(row) for row in rated):
        roof = np.minimum(peaks.matmul[name].flops, peaks.bandwidth * intensity)
        axes.plot(intensity, roof / 1e9, color=_LINE, lw=1.5)
        axes.text(intensity[-1], roof[-1] / 1e9 * 1.08, f"peak, {name}", ha="right", fontsize=8, color=_LINE)
    said = []
    for case in dict.fromkeys(row.case for row in rated if "beside its products" not in row.case):
        group = [row for row in rated if row.case == case]
        lead = next((row for row in group if row.contender.startswith("pn.train")), group[0])
        said.append(f"{len(said) + 1}  {case}: {100 * lead.rates.of_limit:.3g} % of the limit")
        for row in group:
            size, color, above = (7, _OURS, 3) if row is lead else (4, _THEIRS, 2)
            axes.plot(*_point(row), "o", ms=size, color=color, mec="none", zorder=above)
        axes.annotate(str(len(said)), _point(lead), xytext=(-12, 2), textcoords="offset points", fontsize=9)
    axes.text(0.98, 0.03, "\n".join(["pn.train", *said]), transform=axes.transAxes, ha="right", va="bottom", fontsize=8)


def _point(row):
    return row.rates.flops / row.rates.bytes, row.rates.flops / 1e9


def _key(row):
    """The peak that a row is held against; the precision in force is named in brackets."""
    precision = next((one for one in ("highest", "high") if f"({one}" in row.arithmetic), "default")
    return f"float32 {precision}" if row.arithmetic.startswith("float32") else row.arithmetic
