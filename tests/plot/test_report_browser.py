"""plot.report in a browser: it opens without a complaint, all of it moves with the epochs, nothing is fetched."""

import base64
import functools
import time

import numpy as np
import pytest
from plot.chromium import Browser, Page, program
from plot.report_runs import CE, HALF, drawn, fitted, floats, whole

import purenet as pn
from purenet.plot import report

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(program() is None, reason="no chromium, chromium-browser or google-chrome on PATH"),
]
NASTY = '<img src=x onerror="alert(1)"> & "co"'
RUNS = {
    "map": fitted,
    "field": lambda: drawn(pn.dense(1), HALF, (floats(30, 2), floats(30, 1))),
    "function": lambda: drawn(pn.dense(1), HALF, (floats(30, 1), floats(30, 1)), 4, {"loss": np.array([1, np.nan, 2])}),
    "tiles": lambda: drawn(pn.dense(5), CE, (floats(12, 16), whole(5, 12)), 3, {"loss": np.ones(2), NASTY: np.ones(2)}),
    "histograms": lambda: drawn(pn.serial(pn.dense(3), pn.dense(5)), CE, (floats(12, 13), whole(5, 12))),
}


@pytest.fixture(scope="module", name="browser")
def _browser(tmp_path_factory):
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(scope="module", name="files")
def _files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reports")

    @functools.cache
    def file(kind):
        run = RUNS[kind]()
        return report(run.result, folder / f"{kind}.html", **run.given, title=NASTY)

    return file


@pytest.fixture(name="open_page")
def _open_page(browser, files):
    opened = []

    def opening(kind, *options):
        opened.append(Page(browser, files(kind), *options))
        return opened[-1]

    yield opening
    for page in opened:
        assert page.problems() == []
        page.close()


def shown(page):
    """The epoch, and the pixels of every canvas."""
    epoch = page.run("document.querySelector('#now').textContent")
    count = page.run("document.querySelectorAll('canvas').length")
    return epoch, [page.run(f"document.querySelectorAll('canvas')[{i}].toDataURL()") for i in range(count)]


@pytest.mark.parametrize("kind", RUNS)
def test_the_slider_moves_every_picture(kind, open_page):
    page = open_page(kind)
    last = len(RUNS[kind]().result.snapshots) - 1
    epoch, end = shown(page)
    assert epoch == f"epoch {last} of {last}"
    page.click("#slider", 0.01)
    epoch, start = shown(page)
    assert epoch == f"epoch 0 of {last}"
    assert all(one != other for one, other in zip(end, start, strict=True))
    page.press("ArrowRight")  # the slider has the focus
    epoch, next_one = shown(page)
    assert epoch == f"epoch 1 of {last}"
    assert next_one[0] not in (start[0], end[0])
    page.press("End")
    assert shown(page) == (f"epoch {last} of {last}", end)


def test_the_map_is_the_right_way_up(open_page):
    """Class 0, blue, lies left above; class 1, orange, right below."""
    page = open_page("map")
    above, below = page.run("""(() => {
        const canvas = document.querySelector("#picture canvas"), copy = document.createElement("canvas");
        copy.width = copy.height = canvas.width;
        const ctx = copy.getContext("2d", { willReadFrequently: true });
        ctx.drawImage(canvas, 0, 0);
        return [[56, 32], [canvas.width - 12, canvas.height - 44]].map((at) => [...ctx.getImageData(...at, 1, 1).data]);
    })()""")
    assert above[2] > above[0] + 60
    assert below[0] > below[2] + 60


def test_keys_move_the_page_wherever_the_focus_is(open_page):
    page = open_page("map")
    seen = [shown(page)]
    for key in ("ArrowLeft", "ArrowLeft", "ArrowRight", "Home", "ArrowLeft", "End"):
        page.press(key)
        seen.append(shown(page))
    assert [epoch for epoch, _ in seen] == [f"epoch {i} of 4" for i in (4, 3, 2, 3, 0, 0, 4)]
    assert seen[1] == seen[3]
    assert seen[0] == seen[6]
    page.press("Tab")
    assert page.run("document.activeElement.id") == "play"
    page.press("Tab")
    assert page.run("document.activeElement.id") == "slider"
    page.press("ArrowLeft")
    assert page.run("document.activeElement.getAttribute('aria-valuetext')") == "epoch 3 of 4"


@pytest.mark.parametrize("start", ["click", "space"])
def test_play_goes_through_all_epochs_and_stops(start, open_page):
    page = open_page("map")
    page.run(
        "new MutationObserver(() => (window.seen ??= []).push(document.querySelector('#now').textContent))"
        ".observe(document.querySelector('#now'), { childList: true, characterData: true, subtree: true })"
    )
    page.click("#play") if start == "click" else page.press(" ")
    assert page.run("document.querySelector('#play').getAttribute('aria-label')") == "Pause"
    end = time.monotonic() + 30
    while page.run("document.querySelector('#play').getAttribute('aria-pressed')") == "true":
        assert time.monotonic() < end
        page.settle()
    assert page.run("window.seen") == [f"epoch {i} of 4" for i in range(5)]
    assert page.run("document.querySelector('#play').getAttribute('aria-label')") == "Play"


def test_play_can_be_paused(open_page):
    page = open_page("map")
    page.press("Home")
    page.click("#play")
    page.click("#play")
    before = shown(page)
    page.run("new Promise((done) => setTimeout(done, 1500))")
    assert shown(page) == before


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844), (320, 600)], ids=["desktop", "phone", "small"])
def test_it_fits_on_any_screen_and_never_jumps(size, dark, open_page):
    page = open_page("map", size, dark)
    boxes = (
        "JSON.stringify([...document.querySelectorAll('body *')].map((one) => one.getBoundingClientRect().toJSON()))"
    )
    before = page.run(boxes)
    page.press("Home")
    assert page.run("[document.documentElement.scrollWidth, innerWidth]") == [size[0], size[0]]
    page.press("End")
    assert page.run(boxes) == before
    heights = "[...document.querySelectorAll('canvas')].map((one) => one.getBoundingClientRect().height)"
    now = page.run(heights)
    page.press("Home")
    assert page.run(heights) == now
    ground = page.run("getComputedStyle(document.body).backgroundColor")
    assert ground == ("rgb(18, 20, 24)" if dark else "rgb(244, 245, 247)")


def test_the_colours_change_with_the_reader_s_wish(open_page):
    page = open_page("map")
    light = shown(page)
    page.paint(dark=True)
    page.settle()
    dark = shown(page)
    assert light[0] == dark[0]
    assert all(one != other for one, other in zip(light[1], dark[1], strict=True))
    page.paint(dark=False)
    page.settle()
    assert shown(page) == light


def test_names_are_shown_as_they_are(open_page):
    page = open_page("tiles")
    assert page.run("document.title") == NASTY
    assert page.run("document.querySelector('h1').textContent") == NASTY
    assert page.run("[...document.querySelectorAll('#charts h2')].map((one) => one.textContent)") == ["loss", NASTY]
    assert page.run("document.querySelectorAll('img').length") == 0


def test_the_browser_tests_would_see_a_complaint(browser, tmp_path):
    """A page with an exception, an error on the console and a request: each is found."""
    path = tmp_path / "bad.html"
    path.write_text("<img src='none.png'><script>console.error('no'); throw new Error('yes')</script>")
    page = Page(browser, path)
    found = page.problems()
    page.close()
    assert (tmp_path / "none.png").as_uri() in found
    assert any("exceptionDetails" in one for one in found)
    assert any(isinstance(one, dict) and one.get("type") == "error" for one in found)


def test_a_picture_of_the_page_is_a_png(open_page):
    data = open_page("map").picture()
    assert data[:8] == base64.b64decode("iVBORw0KGgo=")
    assert len(data) > 20_000
