"""Fetching published data sets: https mirrors, pinned checksums, transfers that resume.

A file is written to ``NAME.part`` and takes its own name only when it is whole and its MD5 is the published one. (The
publishers pin MD5; here it guards against damage and mix-ups, and https against the rest.) What an interrupted
transfer left is continued, from another mirror if need be.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any

from .datasets import Folder, PublishedFile, cache_folder, placing, published

Progress = Callable[[str, int, int], None]
PIECE = 1 << 16
LOCAL_HOSTS = {"127.0.0.1", "::1", "localhost"}


class DownloadError(OSError):
    """A file could not be fetched; the message says what each mirror did and how to place the files by hand."""


class _TransferError(Exception):
    """One attempt at one mirror failed; `again` says whether the same mirror may do better."""

    def __init__(self, what: str, again: bool) -> None:
        super().__init__(what)
        self.again = again


def offline() -> bool:
    """Whether ``PYNEURAL_OFFLINE`` forbids every connection (set and neither empty nor 0)."""
    return os.environ.get("PYNEURAL_OFFLINE", "0") not in ("", "0")


def download(
    name: str,
    data_dir: Folder | None = None,
    *,
    mirrors: Sequence[str] | None = None,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 3,
    pause: float = 1.0,
) -> Path:
    """Fetch the four files of a published data set, those that are not there yet.

    Args:
        name: "mnist" or "fashion-mnist".
        data_dir: they go into the subfolder of that name in here; the cache folder if not given.
        mirrors: URLs of folders that hold the files, tried in order; the known mirrors if not given. https only, except
            for this machine itself.
        progress: called as ``progress(file_name, bytes_so_far, bytes_in_all)`` while a file arrives.
        timeout: seconds without any data after which a mirror is given up.
        attempts: tries per mirror where trying again can help (a broken connection, a server error).
        pause: seconds to wait before the second try at a mirror; doubled before each further one.

    Returns:
        The folder that holds the files.

    Raises:
        DownloadError: if a file is missing and could not be fetched, or ``PYNEURAL_OFFLINE`` is set.
        ValueError: if the name is unknown, or a mirror is not https.
    """
    known = published(name)
    folder = (Path(data_dir).expanduser() if data_dir is not None else cache_folder()) / known.folders[0]
    urls = [_checked_mirror(mirror) for mirror in (known.mirrors if mirrors is None else mirrors)]
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(folder):
        for file in known.files:
            try:
                fetch_file(file, folder, urls, progress=progress, timeout=timeout, attempts=attempts, pause=pause)
            except DownloadError as problem:
                raise DownloadError(f"{known.name}: {problem}\n{placing(known, data_dir)}") from None
    return folder


def fetch_file(
    file: PublishedFile,
    folder: Path,
    mirrors: Sequence[str],
    *,
    progress: Progress | None = None,
    timeout: float = 30.0,
    attempts: int = 3,
    pause: float = 1.0,
) -> Path:
    """Fetch one file of known size and MD5 into the folder, unless it is there; arguments as for :func:`download`."""
    target = folder / file.name
    if target.is_file() and target.stat().st_size == file.size and _md5(target) == file.md5:
        return target
    if offline():
        raise DownloadError(f"{file.name} is not in {folder}, and PYNEURAL_OFFLINE forbids fetching it")
    part = folder / (file.name + ".part")
    failures = []
    for mirror in mirrors:
        for attempt in range(attempts):
            if attempt:
                time.sleep(pause * 2 ** (attempt - 1))
            try:
                _transfer(mirror + file.name, file, part, progress, timeout)
            except _TransferError as problem:
                failures.append(f"  {mirror + file.name}: {problem}\n")
                if not problem.again:
                    break
            else:
                part.replace(target)
                return target
    raise DownloadError(f"{file.name} could not be fetched:\n" + "".join(failures).rstrip("\n"))


def _transfer(url: str, file: PublishedFile, part: Path, progress: Progress | None, timeout: float) -> None:
    """Bring `part` to the whole file, continuing what it holds; on _TransferError it keeps what may be continued."""
    digest = hashlib.md5(usedforsecurity=False)
    done = _hash_part(part, file, digest)
    resumed = done > 0
    if done < file.size:
        try:
            with _open(url, done, timeout) as response:
                if resumed and response.status != 206:  # the server sends the whole file: start again
                    done, resumed, digest = 0, False, hashlib.md5(usedforsecurity=False)
                _check_offer(response, done, file)
                with part.open("r+b" if resumed else "wb") as output:
                    output.seek(done)
                    done = _copy(response, output, digest, done, file, progress)
        except urllib.error.HTTPError as problem:
            problem.close()
            if problem.code == 416:  # our part is of no use to this server
                part.unlink(missing_ok=True)
            raise _TransferError(
                f"the server answered {problem.code} {problem.reason}",
                problem.code >= 500 or problem.code in (408, 416, 429),
            ) from None
        except (http.client.HTTPException, urllib.error.URLError, TimeoutError, ConnectionError) as problem:
            reason = getattr(problem, "reason", None) or problem
            raise _TransferError(f"the transfer failed ({type(problem).__name__}: {reason})", True) from None
        if done < file.size:
            raise _TransferError(f"the connection closed after {done} of {file.size} bytes", True)
    if digest.hexdigest() != file.md5:
        part.unlink(missing_ok=True)
        # A continued file may have begun with another server's bytes, so it deserves one more try from its start.
        raise _TransferError(
            f"the file has MD5 {digest.hexdigest()}, published is {file.md5}; it was thrown away", resumed
        )


def _copy(
    response: http.client.HTTPResponse,
    output: IO[bytes],
    digest: Any,
    done: int,
    file: PublishedFile,
    progress: Progress | None,
) -> int:
    """Append the response, at most up to the file's size; returns how much there is now."""
    if progress is not None:
        progress(file.name, done, file.size)
    while done < file.size:
        piece = response.read(min(PIECE, file.size - done))
        if not piece:
            break
        output.write(piece)
        digest.update(piece)
        done += len(piece)
        if progress is not None:
            progress(file.name, done, file.size)
    return done


def _check_offer(response: http.client.HTTPResponse, done: int, file: PublishedFile) -> None:
    """Refuse an answer that by its headers is not the rest of the file."""
    if response.status == 206:
        span = response.headers.get("Content-Range", "")
        if not span.replace(" ", "").startswith(f"bytes{done}-"):
            raise _TransferError(
                f"asked to go on from byte {done}, the server sends {span or 'no Content-Range'}", False
            )
    length = response.headers.get("Content-Length", "")
    if length.isdecimal() and done + int(length) != file.size:
        raise _TransferError(f"the server offers {done + int(length)} bytes, the published file has {file.size}", False)


def _hash_part(part: Path, file: PublishedFile, digest: Any) -> int:
    """Feed what an earlier transfer left to the digest; returns its size, 0 (and no part) if it cannot be continued."""
    if not part.is_file():
        return 0
    if part.stat().st_size > file.size:
        part.unlink()
        return 0
    done = 0
    with part.open("rb") as stream:
        while piece := stream.read(PIECE):
            digest.update(piece)
            done += len(piece)
    return done


def _open(url: str, start: int, timeout: float) -> http.client.HTTPResponse:
    # "identity": a server that compressed the file on the way would change the bytes that the checksum is of.
    headers = {"User-Agent": "pyneural", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    opener = urllib.request.build_opener(_SafeRedirects)
    response: http.client.HTTPResponse = opener.open(urllib.request.Request(url, headers=headers), timeout=timeout)
    return response


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to https only; urllib alone would go on over plain http."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not _allowed(newurl):
            raise _TransferError(f"the server redirects to {newurl}, which is not https", False)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _allowed(url: str) -> bool:
    parts = urllib.parse.urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in LOCAL_HOSTS)


def _checked_mirror(mirror: str) -> str:
    if not _allowed(mirror):
        raise ValueError(f"download: the mirror {mirror!r} is not an https:// address; name one that is")
    return mirror if mirror.endswith("/") else mirror + "/"


def _md5(path: Path) -> str:
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as stream:
        while piece := stream.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Let one process at a time download into the folder, if the system has such locks; others then find the files."""
    try:
        import fcntl
    except ImportError:  # Windows; two downloads at once may then spoil each other's part, which the checksum notices
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # some network file systems have no locks
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
