"""A headless browser, driven over two pipes by messages of the Chrome DevTools Protocol: JSON, each ended by NUL."""

import base64
import fcntl
import json
import os
import select
import shutil
import signal
import time

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--remote-debugging-pipe",
)  # fmt: skip
KEYS = {
    "ArrowLeft": (37, ""), "ArrowRight": (39, ""), "Home": (36, ""), "End": (35, ""), "Tab": (9, ""), " ": (32, " "),
}  # fmt: skip
PATIENCE = 60  # seconds for an answer; a busy machine is slow


def program():
    """The browser on this machine, or None."""
    return next((path for path in map(shutil.which, NAMES) if path), None)


class Browser:
    """A running browser; `with` ends it."""

    def __init__(self, folder):
        ours, theirs = os.pipe(), os.pipe()
        # Numbers above 9, so that putting them in place as 3 and 4 overwrites none of them.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in (ours[0], theirs[1])]
        silent = os.open(os.devnull, os.O_RDWR)
        places = [(silent, 0), (silent, 1), (silent, 2), (ends[0], 3), (ends[1], 4)]
        name = program()
        self.pid = os.posix_spawn(
            name,
            [name, *FLAGS, f"--user-data-dir={folder}", "about:blank"],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, *place) for place in places],
            setpgroup=0,
        )
        self._write, self._read = ours[1], theirs[0]
        for end in (*ends, ours[0], theirs[1], silent):
            os.close(end)
        self._buffer, self._number, self.events = b"", 0, []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        try:
            os.killpg(self.pid, signal.SIGKILL)
        finally:
            os.waitpid(self.pid, 0)
            os.close(self._write)
            os.close(self._read)

    def call(self, method, session=None, **params):
        """Asks the browser, and gives its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": params}
        if session is not None:
            message["sessionId"] = session
        data = json.dumps(message).encode() + b"\0"
        while data:
            data = data[os.write(self._write, data) :]
        answer = self.wait(lambda found: found.get("id") == message["id"])
        assert "error" not in answer, f"{method}: {answer['error']}"
        return answer["result"]

    def wait(self, wanted):
        """Reads until a message is wanted; events on the way are kept."""
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            message = self.receive(end - time.monotonic())
            if message is not None and wanted(message):
                return message
        raise TimeoutError("the browser did not answer")

    def receive(self, seconds):
        """The next message within so many seconds, or None."""
        end = time.monotonic() + seconds
        while b"\0" not in self._buffer:
            ready, *_ = select.select([self._read], [], [], max(0.0, end - time.monotonic()))
            if not ready:
                return None
            piece = os.read(self._read, 1 << 16)
            assert piece, "the browser has gone"
            self._buffer += piece
        raw, self._buffer = self._buffer.split(b"\0", 1)
        message = json.loads(raw)
        if "method" in message:
            self.events.append(message)
        return message


class Page:
    """A page of a browser, at a size in CSS pixels, light or dark."""

    def __init__(self, browser, path, size=(1280, 800), dark=False):
        self.browser = browser
        self.url = path.resolve().as_uri()
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.target = target
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.resize(size)
        self.paint(dark)
        self.call("Page.navigate", url=self.url)
        browser.wait(lambda found: found.get("method") == "Page.loadEventFired" and self._mine(found))
        self.settle()

    def _mine(self, event):
        return event.get("sessionId") == self.session

    def call(self, method, **params):
        return self.browser.call(method, self.session, **params)

    def resize(self, size):
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)

    def paint(self, dark):
        """Light or dark, as the reader's system would say."""
        feature = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[feature])

    def settle(self):
        """Waits until what was asked for is drawn."""
        self.run("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")

    def run(self, expression):
        """The value of a JavaScript expression."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def press(self, key):
        code, text = KEYS[key]
        named = {"key": key, "windowsVirtualKeyCode": code, "code": "Space" if key == " " else key}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **named)
        self.call("Input.dispatchKeyEvent", type="keyUp", **named)
        self.settle()

    def click(self, selector, share=0.5):
        """Clicks on an element, at a share of its width."""
        box = self.run(f"document.querySelector({json.dumps(selector)}).getBoundingClientRect().toJSON()")
        place = {"x": box["x"] + share * box["width"], "y": box["y"] + box["height"] / 2}
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **place)
        self.settle()

    def picture(self):
        """The whole page as a PNG."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        answer = self.call("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)
        return base64.b64decode(answer["data"])

    def problems(self):
        """Errors, warnings and requests for anything but the page itself."""
        found = []
        for event in filter(self._mine, self.browser.events):
            method, params = event["method"], event["params"]
            said = method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert")
            if said or method in ("Runtime.exceptionThrown", "Log.entryAdded"):
                found.append(params)
            elif method == "Network.requestWillBeSent" and params["request"]["url"] not in (self.url, "data:,"):
                found.append(params["request"]["url"])
        return found

    def close(self):
        self.browser.call("Target.closeTarget", targetId=self.target)
