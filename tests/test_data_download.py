"""The downloader against a server on this machine that can be told to misbehave. Nothing leaves 127.0.0.1."""

from __future__ import annotations

import hashlib
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from pyneural.data import DownloadError, download
from pyneural.data.datasets import MNIST, PublishedFile
from pyneural.data.downloads import fetch_file

CONTENT = b"".join(hashlib.sha256(bytes([i])).digest() for i in range(256)) * 32  # 256 KiB, four pieces
FILE = PublishedFile("images.gz", len(CONTENT), hashlib.md5(CONTENT).hexdigest())


@dataclass
class Server:
    """How the server answers, and what it was asked."""

    url: str = ""
    content: bytes = CONTENT
    close_after: list[int] = field(default_factory=list)  # bytes after which the next answers break off
    statuses: list[int] = field(default_factory=list)  # error codes of the next answers
    ranges: bool = True
    shift: int = 0  # how far the range that it names lies from the one that was asked for
    location: str = ""
    chunked: bool = False
    asked: list[str] = field(default_factory=list)  # the Range header of each request, "" for none


class Handler(http.server.BaseHTTPRequestHandler):
    server: TestingServer

    def do_GET(self) -> None:
        state = self.server.state
        wanted = self.headers.get("Range", "")
        state.asked.append(wanted)
        if state.location:
            self.send_response(302)
            self.send_header("Location", state.location)
            self.end_headers()
            return
        if state.statuses:
            self.send_error(state.statuses.pop(0))
            return
        start = int(wanted.removeprefix("bytes=").split("-")[0]) if wanted and state.ranges else 0
        if start >= len(state.content):
            self.send_error(416)
            return
        body = state.content[start:]
        self.send_response(206 if wanted and state.ranges else 200)
        if wanted and state.ranges:
            self.send_header(
                "Content-Range", f"bytes {start + state.shift}-{len(state.content) - 1}/{len(state.content)}"
            )
        if not state.chunked:  # without a length, the end of the connection is the end of the file
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: state.close_after.pop(0)] if state.close_after else body)

    def log_message(self, *args: object) -> None:
        pass


class TestingServer(http.server.ThreadingHTTPServer):
    __test__ = False
    state: Server

    def handle_error(self, request: object, client_address: object) -> None:
        """Stay quiet about clients that hang up, which is what some of the tests make them do."""


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Server]]:
    monkeypatch.delenv("PYNEURAL_OFFLINE", raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    running = []
    for _ in range(2):
        server = TestingServer(("127.0.0.1", 0), Handler)
        server.state = Server(url=f"http://127.0.0.1:{server.server_port}/")
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        running.append(server)
    yield [server.state for server in running]
    for server in running:
        server.shutdown()
        server.server_close()


@pytest.fixture
def server(servers: list[Server]) -> Server:
    return servers[0]


def get(folder: Path, *servers: Server, file: PublishedFile = FILE, **options: object) -> bytes:
    path = fetch_file(file, folder, [s.url for s in servers], pause=0.0, timeout=5.0, **options)  # type: ignore[arg-type]
    assert path == folder / file.name
    assert [p.name for p in folder.iterdir()] == [file.name]  # no part is left
    return path.read_bytes()


def test_a_file_arrives_whole_and_only_once(server: Server, tmp_path: Path) -> None:
    seen: list[tuple[str, int, int]] = []
    assert get(tmp_path, server, progress=lambda *now: seen.append(now)) == CONTENT
    assert seen[0] == (FILE.name, 0, FILE.size)
    assert seen[-1] == (FILE.name, FILE.size, FILE.size)
    assert [s[1] for s in seen] == sorted(s[1] for s in seen)
    assert get(tmp_path, server) == CONTENT
    assert server.asked == [""]


def test_what_is_left_of_a_transfer_is_continued(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(CONTENT[:1000])
    assert get(tmp_path, server) == CONTENT
    assert server.asked == ["bytes=1000-"]


def test_a_whole_part_needs_no_transfer(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(CONTENT)
    assert get(tmp_path, server) == CONTENT
    assert server.asked == []


def test_a_broken_connection_is_continued(server: Server, tmp_path: Path) -> None:
    server.close_after = [100_000, 50_000]
    assert get(tmp_path, server) == CONTENT
    assert server.asked == ["", "bytes=100000-", "bytes=150000-"]


def test_a_transfer_without_length_that_ends_early_is_continued(server: Server, tmp_path: Path) -> None:
    server.chunked, server.close_after = True, [70_000]
    assert get(tmp_path, server) == CONTENT
    assert server.asked == ["", "bytes=70000-"]


def test_a_server_without_ranges_sends_it_all_again(server: Server, tmp_path: Path) -> None:
    server.ranges, server.close_after = False, [100_000]
    assert get(tmp_path, server) == CONTENT


def test_a_part_that_belongs_to_something_else_is_thrown_away(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.gz.part").write_bytes(b"x" * 1000)
    assert get(tmp_path, server) == CONTENT
    assert server.asked == ["bytes=1000-", ""]
    (tmp_path / "images.gz").unlink()
    (tmp_path / "images.gz.part").write_bytes(CONTENT + b"x")  # longer than the file
    assert get(tmp_path, server) == CONTENT


def test_a_damaged_file_is_replaced(server: Server, tmp_path: Path) -> None:
    (tmp_path / "images.gz").write_bytes(CONTENT[:-1] + b"?")
    assert get(tmp_path, server) == CONTENT


def test_the_second_mirror_is_tried_and_goes_on_from_the_first(servers: list[Server], tmp_path: Path) -> None:
    servers[0].close_after, servers[0].statuses = [80_000], []
    assert get(tmp_path, *servers, attempts=1) == CONTENT
    assert servers[1].asked == ["bytes=80000-"]


@pytest.mark.parametrize(("code", "times"), [(404, 1), (403, 1), (500, 3), (503, 3), (429, 3)])
def test_server_errors(servers: list[Server], tmp_path: Path, code: int, times: int) -> None:
    servers[0].statuses = [code] * 10
    assert get(tmp_path, *servers) == CONTENT
    assert len(servers[0].asked) == times  # what asking again cannot mend is asked once
    (tmp_path / FILE.name).unlink()
    with pytest.raises(DownloadError, match=rf"images.gz could not be fetched:\n  {servers[0].url}.* answered {code}"):
        get(tmp_path, servers[0])


def test_a_wrong_checksum_is_refused(servers: list[Server], tmp_path: Path) -> None:
    servers[0].content = CONTENT[:-1] + b"?"
    with pytest.raises(DownloadError, match=rf"has MD5 [0-9a-f]{{32}}, published is {FILE.md5}; it was thrown away"):
        get(tmp_path, servers[0])
    assert list(tmp_path.iterdir()) == []
    assert get(tmp_path, *servers) == CONTENT


def test_a_file_of_another_size_is_not_even_fetched(server: Server, tmp_path: Path) -> None:
    server.content = CONTENT + b"more"
    with pytest.raises(DownloadError, match=f"offers {FILE.size + 4} bytes, the published file has {FILE.size}"):
        get(tmp_path, server)
    assert list(tmp_path.iterdir()) == []


def test_a_transfer_that_breaks_off_or_goes_on_elsewhere(server: Server, tmp_path: Path) -> None:
    server.chunked, server.close_after = True, [0] * 99
    with pytest.raises(DownloadError, match=f"the connection closed after 0 of {FILE.size} bytes"):
        get(tmp_path, server)
    (tmp_path / "images.gz.part").write_bytes(CONTENT[:1000])
    server.shift = 7
    with pytest.raises(DownloadError, match="asked to go on from byte 1000, the server sends bytes 1007-"):
        get(tmp_path, server)


def test_no_more_than_the_published_size_is_written(server: Server, tmp_path: Path) -> None:
    server.content, server.chunked = CONTENT + bytes(10_000_000), True
    assert get(tmp_path, server) == CONTENT


def test_nobody_listens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.delenv("PYNEURAL_OFFLINE", raising=False)
    with pytest.raises(DownloadError, match=r"the transfer failed \(URLError: .*refused"):
        get(tmp_path, Server(url="http://127.0.0.1:9/"))


def test_redirects_stay_on_https(server: Server, tmp_path: Path) -> None:
    server.location = "http://example.invalid/images.gz"
    with pytest.raises(DownloadError, match=r"redirects to http://example\.invalid/images\.gz, which is not https"):
        get(tmp_path, server)


def test_offline_asks_nobody(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYNEURAL_OFFLINE", "1")
    with pytest.raises(DownloadError, match="PYNEURAL_OFFLINE forbids") as caught:
        download("mnist", tmp_path, mirrors=[server.url])
    for hint in (*(file.name for file in MNIST.files), *MNIST.mirrors, str(tmp_path / "mnist"), "PYNEURAL_DATA"):
        assert hint in str(caught.value)
    assert server.asked == []


def test_mirrors_must_be_https(tmp_path: Path) -> None:
    for mirror in ("http://example.invalid/", "file:///etc/", "ftp://example.invalid/"):
        with pytest.raises(ValueError, match="is not an https:// address"):
            download("mnist", tmp_path, mirrors=[mirror])
    assert all(m.startswith("https://") for m in MNIST.mirrors)


def test_unknown_names(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no data set 'minst'; known are digits"):
        download("minst", tmp_path)


def test_the_whole_set_goes_into_its_folder(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = tuple(PublishedFile(file.name, FILE.size, FILE.md5) for file in MNIST.files)
    monkeypatch.setattr(
        "pyneural.data.downloads.published", lambda name: MNIST.__class__(**{**vars(MNIST), "files": files})
    )
    monkeypatch.setenv("PYNEURAL_CACHE", str(tmp_path / "cache"))
    assert download("mnist", mirrors=[server.url], pause=0.0) == tmp_path / "cache" / "mnist"
    assert {p.name for p in (tmp_path / "cache" / "mnist").iterdir()} == {file.name for file in MNIST.files}
