import errno
import hashlib
import http.client
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from data.idx_samples import packed

from purenet import data

CONTENT = np.random.default_rng(0).integers(0, 256, 300_000, np.uint8).tobytes()
DIGEST = hashlib.sha256(CONTENT).hexdigest()
KNOWN = {"sha256": DIGEST, "size": len(CONTENT)}


@pytest.fixture
def mirror(server):
    server.files["file"] = CONTENT
    return server


def fails(urls, path, **options):
    with pytest.raises(data.DownloadError) as error:
        data.download(urls, path, **KNOWN, **options)
    return str(error.value)


def expected(path, got):
    return (
        f"download: expected {path.name} with SHA-256 {DIGEST}, got {got}. "
        f"Check the connection and call again, or put the file at {path} by hand."
    )


def test_a_file_is_downloaded_once_into_new_folders(mirror, tmp_path):
    path = tmp_path / "a" / "b" / "file"
    assert data.download([mirror.url + "file"], path, **KNOWN) == path
    assert data.download([mirror.url + "file"], str(path), **KNOWN) == path
    assert path.read_bytes() == CONTENT
    assert mirror.log == [("file", None, 200)]
    assert sorted(file.name for file in path.parent.iterdir()) == [".download.lock", "file"]


def test_the_checksum_is_of_the_unpacked_content(mirror, tmp_path):
    path = tmp_path / "file.gz"
    for level in (1, 9):
        mirror.files["file.gz"] = packed(CONTENT) if level == 1 else packed(CONTENT[:9]) + packed(CONTENT[9:])
        data.download([mirror.url + "file.gz"], path, **KNOWN)
        assert path.read_bytes() == mirror.files["file.gz"]
        path.unlink()


@pytest.mark.parametrize("says_length", [True, False])
def test_an_interrupted_download_is_resumed(mirror, tmp_path, says_length):
    path, url = tmp_path / "file", mirror.url + "file"
    mirror.cut_after, mirror.says_length = 200_000, says_length
    message = fails([url], path)
    if says_length:
        assert message == expected(
            path, f"an end after 200000 of 300000 bytes (kept; the next call resumes) from {url}"
        )
    else:  # without a length the end looks like the end, and what is there is wrong
        assert message == expected(path, f"content with another SHA-256 (removed) from {url}")
    mirror.cut_after = None
    data.download([url], path, **KNOWN)
    assert path.read_bytes() == CONTENT
    assert mirror.log[1:] == ([("file", "bytes=200000-", 206)] if says_length else [("file", None, 200)])


def test_a_second_mirror_goes_on_where_the_first_broke_off(mirror, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    data.download([mirror.url + "absent", mirror.url + "file"], tmp_path / "file", **KNOWN)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert mirror.log == [("absent", "bytes=100-", 404), ("file", "bytes=100-", 206)]


def test_a_server_that_ignores_ranges_sends_all_again(mirror, tmp_path):
    mirror.ignores_range = True
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    data.download([mirror.url + "file"], tmp_path / "file", **KNOWN)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert mirror.log == [("file", "bytes=100-", 200)]


def test_a_whole_part_only_needs_its_name(mirror, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    data.download([mirror.url + "file"], tmp_path / "file", **KNOWN)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert mirror.log == [("file", "bytes=300000-", 416)]


@pytest.mark.parametrize("stale", [b"x" * 100, b"x" * 300_000, b"x" * 400_000], ids=len)
def test_a_stale_part_is_replaced(mirror, tmp_path, stale):
    (tmp_path / "file.part").write_bytes(stale)
    data.download([mirror.url + "file"], tmp_path / "file", **KNOWN)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(mirror.log) == 2


@pytest.mark.parametrize(
    "wrong",
    [
        CONTENT[:-1] + b"?",
        CONTENT[:-1],
        CONTENT + b"?",
        b"<html>",
        b"",
        packed(CONTENT)[:-1],
        CONTENT * 2,
        packed(CONTENT * 9),
    ],
    ids=["flipped", "short", "long", "page", "empty", "cut gzip", "endless", "bomb"],
)
def test_wrong_bytes_are_removed(mirror, tmp_path, wrong):
    path, url = tmp_path / "file", mirror.url + "file"
    mirror.files["file"] = wrong
    assert fails([url], path) == expected(path, f"content with another SHA-256 (removed) from {url}")
    assert [file.name for file in tmp_path.iterdir()] == [".download.lock"]


def test_an_endless_answer_is_cut_off(mirror, tmp_path, monkeypatch):
    mirror.files["file"] = CONTENT * 20
    written = []
    monkeypatch.setattr("purenet.data.downloading.content_is", lambda part, *_: written.append(part.stat().st_size))
    fails([mirror.url + "file"], tmp_path / "file")
    assert written[0] < 1.1 * len(CONTENT)


def test_a_right_mirror_after_a_wrong_one(mirror, tmp_path):
    mirror.files["wrong"] = CONTENT[::-1]
    data.download([mirror.url + "wrong", mirror.url + "file"], tmp_path / "file", **KNOWN)
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize(("status", "name"), [(404, "Not Found"), (500, "Internal Server Error")])
def test_a_server_error_is_named(mirror, tmp_path, status, name):
    path, url = tmp_path / "file", mirror.url + "file"
    mirror.status = status
    (tmp_path / "file.part").write_bytes(CONTENT[:100])
    assert fails([url], path) == expected(path, f"HTTP {status} {name} from {url}")
    assert (tmp_path / "file.part").read_bytes() == CONTENT[:100]


def test_offline(closed_url, tmp_path):
    path = tmp_path / "file"
    assert fails([closed_url], path) == expected(path, f"Connection refused from {closed_url}")
    message = fails([closed_url], path, remedy="Ask the librarian.")
    assert message.endswith(f"got Connection refused from {closed_url}. Ask the librarian.")
    assert fails([], path) == expected(path, "no address")


def test_a_silent_server(mirror, tmp_path):
    path, url = tmp_path / "file", mirror.url + "file"
    mirror.stall, mirror.cut_after = threading.Event(), 1000
    got = f"no answer in time after 1000 bytes (kept; the next call resumes) from {url}"
    assert fails([url], path, timeout=0.2) == expected(path, got)


@pytest.mark.parametrize("answer", [b"garbage\r\n\r\n", b""], ids=["no status", "nothing"])
def test_a_server_that_does_not_speak_http(mirror, tmp_path, answer):
    def reply(handler):
        handler.wfile.write(answer)
        handler.close_connection = True

    mirror.answer = reply
    path, url = tmp_path / "file", mirror.url + "file"
    got = {b"": "Remote end closed connection without response"}.get(answer, "garbage\r\n")
    assert fails([url], path) == expected(path, f"{got} from {url}")


def test_a_connection_lost_between_blocks(mirror, tmp_path, monkeypatch):
    path, url = tmp_path / "file", mirror.url + "file"
    read = http.client.HTTPResponse.read1
    calls = iter(range(3))

    def reset(response, amount):
        if next(calls) == 2:
            raise ConnectionResetError(errno.ECONNRESET, os.strerror(errno.ECONNRESET))
        return read(response, 1000)

    with monkeypatch.context() as patch:
        patch.setattr(http.client.HTTPResponse, "read1", reset)
        message = fails([url], path)
    got = f"Connection reset by peer after 2000 bytes (kept; the next call resumes) from {url}"
    assert message == expected(path, got)
    data.download([url], path, **KNOWN)
    assert path.read_bytes() == CONTENT


def test_a_full_disk(mirror, tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("/dev/full, a disk that is always full, exists only on Linux")
    path = tmp_path / "file"
    (tmp_path / "file.part").symlink_to("/dev/full")
    assert fails([mirror.url + "file"], path) == (
        f"download: expected to store file in {tmp_path}, got No space left on device. "
        "Make room or permit writing there. "
        f"Check the connection and call again, or put the file at {path} by hand."
    )


def test_a_folder_that_cannot_be_written(mirror, tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(tmp_path))

    monkeypatch.setattr(Path, "open", refuse)  # permissions themselves do not bind the superuser
    assert fails([mirror.url + "file"], tmp_path / "file").startswith(
        f"download: expected to store file in {tmp_path}, got Permission denied. Make room or permit writing there. "
    )
    monkeypatch.undo()
    (tmp_path / "folder").mkdir()
    assert "got Is a directory." in fails([mirror.url + "file"], tmp_path / "folder")
    (tmp_path / "blocked").write_bytes(b"")
    assert "got Not a directory." in fails([mirror.url], tmp_path / "blocked" / "deeper" / "file")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "example.org/file", ""])
def test_only_web_addresses(tmp_path, url):
    with pytest.raises(ValueError, match=r"^download") as error:
        data.download([url], tmp_path / "file", **KNOWN)
    assert str(error.value) == f"download: expected an http or https address, got {url!r}. Write it in full."


def test_simultaneous_callers_download_once(mirror, tmp_path):
    path, results = tmp_path / "file", []
    threads = [
        threading.Thread(target=lambda: results.append(data.download([mirror.url + "file"], path, **KNOWN)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [path] * 6
    assert len(mirror.log) == 1
    assert path.read_bytes() == CONTENT


def test_a_killed_process_leaves_a_part_and_no_lock(mirror, tmp_path):
    path, url = tmp_path / "file", mirror.url + "file"
    part = tmp_path / "file.part"
    mirror.stall, mirror.cut_after = threading.Event(), 200_000
    program = f"from purenet import data; data.download([{url!r}], {str(path)!r}, **{KNOWN!r})"
    process = subprocess.Popen(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    try:
        assert mirror.reached_stall.wait(20)
        while not (part.exists() and part.stat().st_size):
            time.sleep(0.01)
    finally:
        process.kill()
        process.wait()
    mirror.stall.set()
    mirror.stall = mirror.cut_after = None
    kept = part.stat().st_size
    data.download([url], path, **KNOWN)
    assert path.read_bytes() == CONTENT
    assert mirror.log[1:] == [("file", f"bytes={kept}-", 206)]
