"""Reading and writing IDX files, the format in which MNIST and its relatives are published.

An IDX file is: two zero bytes; one byte that names the element type; one byte that counts the dimensions; each
dimension as a big-endian 32-bit number; the elements, big-endian, last dimension fastest. Often the whole is
gzip-compressed.

Files come from the network, so nothing in one is believed: memory grows with the data that is really there, never with
what a header promises.
"""

from __future__ import annotations

import gzip
import io
import math
import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

DTYPES: dict[int, np.dtype[Any]] = {
    0x08: np.dtype(np.uint8),
    0x09: np.dtype(np.int8),
    0x0B: np.dtype(np.int16),
    0x0C: np.dtype(np.int32),
    0x0D: np.dtype(np.float32),
    0x0E: np.dtype(np.float64),
}
MAX_DIMENSIONS = 32
MAX_BYTES = 1 << 30
PIECE = 1 << 20  # bytes decompressed between two looks at how far we are

Source = str | os.PathLike[str] | bytes | bytearray | memoryview


class IDXError(ValueError):
    """The file is not a whole and valid IDX file; the message names the file, what is wrong and what to do."""


def read_idx(source: Source, *, max_bytes: int = MAX_BYTES, name: str | None = None) -> NDArray[Any]:
    """Read an IDX file, plain or gzip-compressed (told apart by content, not by name).

    Args:
        source: a path, or the file's content as bytes.
        max_bytes: refuse a file whose header asks for more bytes of elements than this. Decompression stops one byte
            after what the header asks for, whatever the file holds.
        name: what to call the file in messages; its path if not given.

    Returns:
        A new array with the file's shape and dtype, in native byte order.

    Raises:
        IDXError: if the content is not one whole IDX file: wrong magic number or type code, no dimension or an empty
            one, more than `max_bytes`, too few or too many bytes, or broken compression.
        OSError: if the file cannot be opened or read.
    """
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
        return _Reader(io.BytesIO(data), len(data), name or f"<{len(data)} bytes>", max_bytes).read()
    path = Path(source)
    with path.open("rb") as file:
        return _Reader(file, os.fstat(file.fileno()).st_size, name or str(path), max_bytes).read()


def encode_idx(array: NDArray[Any]) -> bytes:
    """The content of an uncompressed IDX file that holds the array.

    Raises:
        IDXError: if the dtype has no IDX code, or the array has no dimension, an empty one, or one above 2**32 - 1.
    """
    array = np.asarray(array)
    code = next((code for code, dtype in DTYPES.items() if dtype == array.dtype.newbyteorder("=")), None)
    if code is None:
        raise IDXError(f"encode_idx: IDX has no code for dtype {array.dtype}; convert to one of {_dtype_names()}")
    if not 1 <= array.ndim <= MAX_DIMENSIONS or 0 in array.shape or max(array.shape) >= 1 << 32:
        raise IDXError(
            f"encode_idx: the array has shape {array.shape}; an IDX file needs 1 to {MAX_DIMENSIONS} dimensions, "
            "each from 1 to 2**32 - 1"
        )
    header = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return header + array.astype(array.dtype.newbyteorder(">"), copy=False).tobytes()


def write_idx(path: str | os.PathLike[str], array: NDArray[Any]) -> None:
    """Write the array as an IDX file, gzip-compressed if the path ends in ``.gz``.

    The same array gives the same bytes each time (no time stamp), and the file appears whole or not at all.

    Raises:
        IDXError: if the array cannot be written as IDX (see :func:`encode_idx`).
    """
    path = Path(path)
    content = encode_idx(array)
    if path.suffix == ".gz":
        content = gzip.compress(content, compresslevel=6, mtime=0)
    partial = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


class _Reader:
    """One reading of one file; holds what every message needs."""

    def __init__(self, file: io.BufferedIOBase, size: int, name: str, max_bytes: int) -> None:
        self.name = name
        self.max_bytes = max_bytes
        self.size = size
        self.compressed = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        self.stream: io.BufferedIOBase = gzip.GzipFile(fileobj=file, mode="rb") if self.compressed else file

    def error(self, what: str) -> IDXError:
        return IDXError(f"read_idx: {self.name}: {what}")

    def read(self) -> NDArray[Any]:
        try:
            return self.read_checked()
        except EOFError:
            raise self.error("the gzip stream is cut short; download or copy the file again") from None
        except (gzip.BadGzipFile, zlib.error) as problem:
            raise self.error(f"the gzip stream is damaged ({problem}); download or copy the file again") from problem

    def read_checked(self) -> NDArray[Any]:
        dtype, shape = self.read_header()
        count = math.prod(shape)
        wanted = count * dtype.itemsize
        described = f"its header asks for {dtype} {shape}, {wanted} bytes of elements"
        if wanted > self.max_bytes:
            raise self.error(
                f"{described}, above the limit of {self.max_bytes}; "
                "if you trust the file, call read_idx with a larger max_bytes"
            )
        # What cannot be there is not allocated for: deflate shrinks to no less than one part in 1032.
        possible = self.size * 1032 if self.compressed else self.size - 4 - 4 * len(shape)
        if wanted > possible:
            raise self.error(
                f"{described}, but a file of {self.size} bytes cannot hold them: it is cut short; get it again"
            )
        array = np.empty(count, dtype.newbyteorder(">"))
        # readinto fills the array itself; pages of it that no data reaches are never touched.
        target = array.view(np.uint8).data
        filled = 0
        while filled < wanted:
            got = self.stream.readinto(target[filled : filled + PIECE])
            if not got:
                raise self.error(f"{described}, but only {filled} follow it: the file is cut short; get it again")
            filled += got
        # Reading on to the end also makes gzip compare its checksum.
        if self.stream.read(1):
            raise self.error(f"{described}, but more bytes follow them: the header or the file is wrong; get it again")
        return array.astype(dtype, copy=False).reshape(shape)

    def read_header(self) -> tuple[np.dtype[Any], tuple[int, ...]]:
        start = self.stream.read(4)
        if len(start) < 4:
            raise self.error(f"the file ends inside its 4-byte magic number (it has {len(start)} bytes); get it again")
        if start[:2] != b"\0\0":
            raise self.error(
                f"the magic number is 0x{start.hex()}, an IDX file starts with 0x0000: this is another kind of file"
                + (" (a web page was saved in its place)" if start.lstrip()[:1] == b"<" else "")
                + "; check where it came from"
            )
        code, dimensions = start[2], start[3]
        if code not in DTYPES:
            known = ", ".join(f"0x{code:02x} {dtype}" for code, dtype in DTYPES.items())
            raise self.error(f"the type code is 0x{code:02x}, IDX knows {known}: the file is damaged or not IDX")
        if not 1 <= dimensions <= MAX_DIMENSIONS:
            raise self.error(
                f"the header counts {dimensions} dimensions, 1 to {MAX_DIMENSIONS} are accepted: "
                "the file is damaged or not IDX"
            )
        sizes = self.stream.read(4 * dimensions)
        if len(sizes) < 4 * dimensions:
            raise self.error(
                f"the header counts {dimensions} dimensions but ends after {len(sizes)} of their "
                f"{4 * dimensions} bytes; get the file again"
            )
        shape = struct.unpack(f">{dimensions}I", sizes)
        if 0 in shape:
            raise self.error(f"the header's sizes are {shape}, with a zero: the file is empty or damaged; get it again")
        return DTYPES[code], shape


def _dtype_names() -> str:
    return ", ".join(str(dtype) for dtype in DTYPES.values())
