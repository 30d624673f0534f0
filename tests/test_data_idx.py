"""The IDX reader: what it reads, and that nothing in a bad file gets past it or costs memory."""

from __future__ import annotations

import gzip
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyneural.data import IDXError, encode_idx, read_idx, write_idx
from pyneural.data.idx import DTYPES

GOOD = encode_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))


def header(code: int, *sizes: int, dimensions: int | None = None) -> bytes:
    count = len(sizes) if dimensions is None else dimensions
    return struct.pack(f">HBB{len(sizes)}I", 0, code, count, *sizes)


@pytest.mark.parametrize("dtype", DTYPES.values(), ids=str)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_written_arrays_are_read_back(tmp_path: Path, dtype: np.dtype, suffix: str) -> None:
    array = (np.arange(30).reshape(2, 3, 5) - 7).astype(dtype)
    path = tmp_path / f"a-idx3{suffix}"
    write_idx(path, array)
    read = read_idx(path)
    assert read.dtype == dtype
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_the_bytes_are_the_published_format(tmp_path: Path) -> None:
    assert encode_idx(np.array([[1, 258]], np.int16)) == bytes.fromhex("00000b02 00000001 00000002 0001 0102")
    # A big-endian or a strided array is the same file.
    swapped = np.array([[1, 258]], ">i2")
    assert encode_idx(swapped) == encode_idx(swapped.astype(np.int16)) == encode_idx(swapped.repeat(2, axis=1)[:, ::2])
    path = tmp_path / "a.gz"
    write_idx(path, swapped)
    first = path.read_bytes()
    write_idx(path, swapped)
    assert path.read_bytes() == first


def test_compression_is_told_by_content(tmp_path: Path) -> None:
    path = tmp_path / "named-without-gz"
    path.write_bytes(gzip.compress(GOOD))
    assert read_idx(path).shape == (2, 3, 4)
    # Members one after the other, and zero padding, are one gzip stream by its standard.
    assert read_idx(gzip.compress(GOOD[:7]) + gzip.compress(GOOD[7:]) + bytes(9)).shape == (2, 3, 4)


WRONG = {
    "empty": (b"", "ends inside its 4-byte magic number"),
    "stub": (b"\0\0\x08", r"ends inside .*3 bytes"),
    "zip": (b"PK\3\4" + GOOD[4:], "magic number is 0x504b0304.*another kind of file"),
    "web page": (b"<!DOCTYPE html>", "a web page was saved in its place"),
    "type code": (header(0x07, 1) + b"x", "type code is 0x07, IDX knows 0x08 uint8"),
    "no dimension": (header(0x08) + b"x", "counts 0 dimensions"),
    "many dimensions": (header(0x08, *[1] * 200) + b"x", "counts 200 dimensions, 1 to 32"),
    "sizes missing": (header(0x08, 2, dimensions=3), "ends after 4 of their 12 bytes"),
    "zero size": (header(0x08, 3, 0), r"sizes are \(3, 0\), with a zero"),
    "cut short": (GOOD[:-1], "24 bytes of elements, but a file of 39 bytes cannot hold them"),
    "trailing": (GOOD + b"\0", "more bytes follow"),
    "too large": (header(0x08, 1 << 31), "2147483648 bytes of elements, above the limit of 1073741824.*max_bytes"),
    "product beyond 64 bits": (header(0x0E, *[0xFFFFFFFF] * 32), "above the limit"),
    "gz: cut short": (gzip.compress(GOOD)[:-9], "gzip stream is cut short"),
    "gz: header only": (gzip.compress(GOOD)[:5], "gzip stream is cut short"),
    "gz: cut inside": (gzip.compress(GOOD[:-1]), "only 23 follow it: the file is cut short"),
    "gz: trailing": (gzip.compress(GOOD + b"\0"), "more bytes follow"),
    "gz: garbage after": (gzip.compress(GOOD) + b"garbage", "gzip stream is damaged"),
    "gz: checksum": (gzip.compress(GOOD)[:-8] + b"\0\0\0\0" + gzip.compress(GOOD)[-4:], r"damaged \(CRC check failed"),
    "gz: length": (gzip.compress(GOOD)[:-1] + b"\1", r"damaged \(Incorrect length"),
    "gz: deflate": (gzip.compress(GOOD)[:10] + b"\xff" * 40, "damaged"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    content, message = WRONG[name]
    path = tmp_path / "t10k-images"
    path.write_bytes(content)
    with pytest.raises(IDXError, match=rf"read_idx: .*t10k-images: .*{message}"):
        read_idx(path)
    with pytest.raises(IDXError, match=message.replace("39 bytes", r"\d+ bytes")):
        read_idx(content)


def test_wrong_arrays_are_refused() -> None:
    with pytest.raises(IDXError, match="no code for dtype int64; convert to one of uint8"):
        encode_idx(np.arange(3))
    with pytest.raises(IDXError, match=r"shape \(0, 2\)"):
        encode_idx(np.zeros((0, 2), np.uint8))
    with pytest.raises(IDXError, match=r"shape \(\)"):
        encode_idx(np.array(3, np.uint8))


def bomb(claimed: int, real: int) -> bytes:
    """A gzip file whose header claims `claimed` bytes, followed by `real` zeros, compressed a thousandfold."""
    packer = zlib.compressobj(9, wbits=31)
    pieces = [packer.compress(header(0x08, claimed))]
    pieces += [packer.compress(bytes(1 << 20)) for _ in range(real >> 20)]
    return b"".join([*pieces, packer.flush()])


@pytest.mark.parametrize(
    ("claimed", "real", "message"),
    [
        (100, 64 << 20, "more bytes follow"),  # inflates far beyond its header
        (1 << 29, 1 << 20, "cannot hold them"),  # its header claims far more than there is
        (4000 << 20, 64 << 20, "above the limit"),
    ],
)
def test_gzip_bombs_cost_no_memory(claimed: int, real: int, message: str) -> None:
    content = bomb(claimed, real)
    tracemalloc.start()
    try:
        with pytest.raises(IDXError, match=message):
            read_idx(content)
        assert tracemalloc.get_traced_memory()[1] < 2 << 20
    finally:
        tracemalloc.stop()


def test_the_limit_is_an_argument() -> None:
    with pytest.raises(IDXError, match="above the limit of 23"):
        read_idx(GOOD, max_bytes=23)
    assert read_idx(GOOD, max_bytes=24).size == 24


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_idx(tmp_path / "nowhere")


@given(st.binary(max_size=200))
def test_any_bytes_read_or_are_refused(content: bytes) -> None:
    for form in (content, b"\0\0\x08" + content, gzip.compress(content), b"\x1f\x8b\x08\0" + content):
        try:
            array = read_idx(form)
        except IDXError:
            continue
        assert encode_idx(array) == (gzip.decompress(form) if form[:2] == b"\x1f\x8b" else form)


@settings(max_examples=300)
@given(st.data())
def test_a_changed_byte_reads_or_is_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([GOOD, gzip.compress(GOOD, mtime=0)])))
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    for form in (bytes(content), bytes(content[:cut])):
        try:
            array = read_idx(form)
        except IDXError:
            continue
        assert array.nbytes <= 1032 * len(form)


@given(
    st.sampled_from(list(DTYPES.values())),
    st.lists(st.integers(1, 5), min_size=1, max_size=5),
    st.integers(0, 2**32 - 1),
)
def test_round_trip(dtype: np.dtype, shape: list[int], seed: int) -> None:
    content = np.random.default_rng(seed).bytes(int(np.prod(shape)) * dtype.itemsize)
    array = np.frombuffer(content, dtype).reshape(shape)
    for form in (encode_idx(array), gzip.compress(encode_idx(array))):
        read = read_idx(form)
        assert (read.dtype, read.shape, read.tobytes()) == (array.dtype, array.shape, content)
