"""plot.network: all boxes and arrows inside the axes, nothing over anything else, at any size; Matplotlib on call."""

import itertools
import subprocess
import sys

import matplotlib
import matplotlib.pyplot as plt
import pytest
from matplotlib.patches import FancyBboxPatch
from refusals import refuses

import purenet as pn
from purenet.plot.layouts import arrange

matplotlib.use("agg")


def skipping():
    """Arrows over one and over several rows, and boxes of many widths."""
    image, age, shared = pn.node("image"), pn.node("age"), pn.dense(3)
    h = pn.tanh(shared(image))
    deep = pn.relu(pn.dense(3)(pn.softplus(pn.dense(5)(h))))
    y = pn.concatenate()(shared(h), deep, pn.add(h, deep), age)
    return pn.graph({"image": image, "age": age}, {"out": pn.dense(2)(y), "code": h})


NETS = {
    "skipping": (skipping, {"image": pn.spec(3), "age": pn.spec(1)}),
    "deep": (lambda: pn.serial(*[pn.residual(pn.dense(2), pn.relu)] * 6), pn.spec(2)),
    "wide": (lambda: pn.branch(*[pn.dense(i + 1) for i in range(9)]), pn.spec(1000)),
    "one": (lambda: pn.relu, pn.spec(())),
}


def drawn(case, size):
    make, spec = NETS[case]
    if size is None:
        ax = pn.plot.network(make(), spec)
    else:
        ax = plt.figure(figsize=size).add_subplot()
        assert pn.plot.network(make(), spec, ax=ax) is ax
    ax.figure.canvas.draw()
    return ax


@pytest.mark.parametrize("size", [None, (3, 3), (12, 2)])
@pytest.mark.parametrize("case", NETS)
def test_nothing_is_clipped_or_lies_over_anything_else(case, size):
    ax = drawn(case, size)
    boxes = [patch.get_window_extent() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    texts = [text.get_window_extent() for text in ax.texts]
    assert len(boxes) == len(texts) > 2
    for box, text in zip(boxes, texts, strict=True):
        assert ax.bbox.fully_contains(*box.min)
        assert ax.bbox.fully_contains(*box.max)
        assert box.padded(1).fully_contains(*text.min)  # small letters are drawn on whole pixels
        assert box.padded(1).fully_contains(*text.max)
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)
    for line in ax.lines:
        for x, y in ax.transData.transform(line.get_xydata()):
            assert ax.bbox.contains(x, y)
            assert not any(box.padded(-0.5).fully_contains(x, y) for box in boxes)
    plt.close("all")


def test_boxes_say_what_they_are():
    ax = drawn("skipping", None)
    texts = [text.get_text() for text in ax.texts]
    assert texts[:3] == ["x['age']\n(1,)", "x['image']\n(3,)", "dense\n(3,)"]
    colours = [patch.get_facecolor() for patch in ax.patches if isinstance(patch, FancyBboxPatch)]
    assert len(set(colours)) == 3  # input and output, with params, without


def test_rows_go_down_and_long_arrows_around():
    layout = arrange([(2, 1), (2, 1), (2, 1), (2, 1)], [(0, 1), (1, 2), (0, 2), (3, 2)], (1.0, 1.0))
    (_, y0), (x1, y1), (_, y2), (_, y3) = layout.places
    assert y0 < y1 < y2
    assert y3 == y1  # an input stands above what takes it
    long = layout.routes[2]
    assert len(long) == 4
    assert all(abs(x - x1) > 1 for x, _ in long[1:3])
    assert (layout.height, layout.routes[0][0][1], layout.routes[0][-1][1]) == (5, 1, 2)


def test_matplotlib_is_imported_by_the_first_drawing_only():
    code = "import sys, purenet as pn; assert 'matplotlib' not in sys.modules; sys.modules['matplotlib'] = None; "
    code += "pn.plot.network(pn.relu, pn.spec(1))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = [line for line in result.stderr.splitlines() if line.startswith("ImportError")]
    assert last == ['ImportError: plot.network: expected Matplotlib, got none. Run pip install "purenet[plot]".']


def test_bad_input_is_refused_in_whole_sentences():
    message = "expected the spec of one example, got None. Pass pn.spec(784), pn.spec((28, 28)) or a tree of such."
    with refuses(TypeError, f"plot.network: {message}"):
        pn.plot.network(pn.relu, None)
