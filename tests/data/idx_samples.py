"""Small IDX files, and a server on this machine that misbehaves on request."""

import gzip
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np

CODES = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
MNIST_FILES = {
    "train_images": "train-images-idx3-ubyte",
    "train_labels": "train-labels-idx1-ubyte",
    "test_images": "t10k-images-idx3-ubyte",
    "test_labels": "t10k-labels-idx1-ubyte",
}


def idx(array):
    header = struct.pack(f">4B{array.ndim}I", 0, 0, CODES[array.dtype.name], array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">")).tobytes()


def packed(content):
    return gzip.compress(content, mtime=0)


def write_mnist(folder, train=3, test=2):
    """Writes a raw MNIST of random pixels, with labels 0, 1, 2, …; returns its four paths."""
    rng = np.random.default_rng(0)
    paths = {key: folder / name for key, name in MNIST_FILES.items()}
    for part, n in (("train", train), ("test", test)):
        paths[f"{part}_images"].write_bytes(idx(rng.integers(0, 256, (n, 28, 28), np.uint8)))
        paths[f"{part}_labels"].write_bytes(idx(np.arange(n, dtype=np.uint8)))
    return paths


class Server:
    """Serves `files`; what is set on it says how it fails. `log` holds (path, range, status)."""

    def __init__(self):
        self.files, self.log = {}, []
        self.status = 200
        self.ignores_range = False
        self.cut_after = None
        self.says_length = True
        self.stall = None  # an event to wait for once cut_after bytes are sent
        self.reached_stall = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                server.answer(self)

            def log_message(self, *args):
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()

    def answer(self, handler):
        content, wanted = self.files.get(handler.path[1:]), handler.headers["Range"]
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted and not self.ignores_range else 0
        status = self.status if content is not None else 404
        if status == 200 and start:
            status = 206 if start < len(content) else 416
        self.log.append((handler.path[1:], wanted, status))
        handler.send_response(status)
        body = content[start:] if status in (200, 206) else b""
        if status == 206:
            handler.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if self.says_length:
            handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        try:
            handler.wfile.write(body[: self.cut_after])
            if self.stall is not None:
                handler.wfile.flush()
                self.reached_stall.set()
                self.stall.wait(20)
        except ConnectionError:
            pass  # the client was cut off

    def close(self):
        if self.stall is not None:
            self.stall.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()
