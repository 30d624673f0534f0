"""pn.save and pn.load: what comes back, what is refused; a damaged or hostile file is an error that says so."""

from __future__ import annotations

import io
import json
import math
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import pyneural as pn
from pyneural import _files, nn, optim, persistence
from pyneural.persistence import FormatError

pytest.importorskip("safetensors", reason="safetensors is not installed")


def file_of(header, body=b""):
    """A safetensors file with any header."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def ours(tree, version=1, **tensors):
    """A file as save writes it, with any tree; the tensors are float32 of one element."""
    head = json.dumps({"version": version, "tree": tree})
    header = {"__metadata__": {"pyneural": head}}
    for i, (name, dtype) in enumerate(tensors.items()):
        header[name] = {"dtype": dtype, "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
    return file_of(header, b"\0\0\x80\x3f" * len(tensors))


def same(a, b):
    """Equal in structure, types and bits."""
    if isinstance(a, pn.Tensor):
        return isinstance(b, pn.Tensor) and same(np.asarray(a), np.asarray(b))
    if isinstance(a, (np.ndarray, np.generic)):
        return type(a) is type(b) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, float) and math.isnan(a):
        return isinstance(b, float) and math.isnan(b)
    if isinstance(a, dict):
        return type(b) is dict and list(a) == list(b) and all(same(a[k], b[k]) for k in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    return (
        type(a) is type(b)
        and a == b
        and math.copysign(1, a if isinstance(a, float) else 1) == math.copysign(1, b if isinstance(b, float) else 1)
    )


# ---- what comes back ----

DTYPES = st.sampled_from(["bool", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", ">f4", ">i8"])
ARRAYS = hnp.arrays(DTYPES, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3))
OF_TENSORS = st.sampled_from(["bool", "u1", "i1", "i2", "i4", "i8", "f4", "f8"])
TENSORS = hnp.arrays(OF_TENSORS, hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=3)).map(pn.from_numpy)
LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(st.characters(), max_size=5), TENSORS)
ANYTHING = st.recursive(
    LEAVES | ARRAYS.map(lambda a: a.astype(a.dtype.newbyteorder("=")).T),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=3) | st.integers(), inner, max_size=3),
    ),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(ANYTHING)
def test_everything_comes_back(value):
    assert same(value, persistence.from_bytes(persistence.to_bytes(value)))


def test_names_in_the_file_are_the_paths(tmp_path):
    from safetensors.numpy import load_file

    path = tmp_path / "state.safetensors"
    state = {"model": {"0.weight": pn.ones(2, 3)}, "model.0.weight": pn.zeros(1), "__metadata__": [np.float32(2)]}
    pn.save(state, path)
    assert sorted(load_file(path)) == ["__metadata__.0", "model.0.weight", "model.0.weight'"]
    assert same(pn.load(str(path)), state)
    assert list(pn.load(path)) == ["model", "model.0.weight", "__metadata__"]
    assert [p.name for p in tmp_path.iterdir()] == ["state.safetensors"]


def test_files_may_be_open(tmp_path):
    stream = io.BytesIO()
    pn.save([1, pn.ones(2)], stream)
    stream.seek(0)
    assert same(pn.load(stream), [1, pn.ones(2)])
    with pytest.raises(FormatError, match="load: the file: "):
        pn.load(io.BytesIO(b"short"))
    with pytest.raises(FileNotFoundError):
        pn.load(tmp_path / "none")


def test_a_tensor_of_a_file_is_memory_of_its_own(tmp_path):
    a = pn.ones(3)
    pn.save({"a": a, "b": a, "view": a[1:], "x": np.asfortranarray(np.eye(3))[::2]}, tmp_path / "f")
    back = pn.load(tmp_path / "f")
    back["a"].add_(1)
    back["x"][0, 0] = 7
    assert back["b"].tolist() == [1, 1, 1]
    assert back["view"].tolist() == [1, 1]
    assert same(pn.load(tmp_path / "f")["x"], np.ascontiguousarray(np.eye(3)[::2]))


def test_models_and_optimisers_come_back(tmp_path):
    def make():
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
        return model, optim.Adam(model.parameters(), lr=0.1, amsgrad=True)

    (a, oa), (b, ob) = make(), make()
    for _ in range(3):
        a(pn.ones(2, 3)).square().sum().backward()
        oa.step()
    pn.save({"model": a.state_dict(), "optimizer": oa.state_dict()}, tmp_path / "f")
    saved = pn.load(tmp_path / "f")
    b.load_state_dict(saved["model"])
    ob.load_state_dict(saved["optimizer"])
    for model, optimizer in ((a, oa), (b, ob)):
        optimizer.zero_grad()
        model(pn.ones(2, 3)).square().sum().backward()
        optimizer.step()
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        assert same(p.detach(), q.detach())


# ---- other programs' files ----


def test_pytorchs_checkpoints_load_by_name(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    from safetensors.torch import load_file, save_file

    theirs = torch.nn.Sequential(torch.nn.Linear(5, 4), torch.nn.Tanh(), torch.nn.Linear(4, 3))
    save_file(theirs.state_dict(), tmp_path / "theirs")
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3))
    model.load_state_dict(pn.load(tmp_path / "theirs"))
    x = np.linspace(-1, 1, 10, dtype=np.float32).reshape(2, 5)
    expected = theirs(torch.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(model(pn.tensor(x)).detach(), expected, rtol=1e-6, atol=1e-7)
    pn.save(model.state_dict(), tmp_path / "ours")
    theirs.load_state_dict(load_file(tmp_path / "ours"))
    for name, tensor in model.state_dict().items():
        assert tensor.numpy().tobytes() == theirs.state_dict()[name].numpy().tobytes()


def test_types_that_tensors_lack_are_widened_or_refused(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    from safetensors.torch import save_file

    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    types = {"b": torch.bfloat16, "h": torch.float16, "u": torch.uint16}
    state = {name: bits.clone().view(dtype) for name, dtype in types.items()}
    save_file(state, tmp_path / "f")
    back = pn.load(tmp_path / "f")
    for name in ("b", "h"):
        assert back[name].dtype == np.float32
        np.testing.assert_array_equal(back[name].numpy(), state[name].float().numpy())
    assert back["u"].dtype == np.int32
    np.testing.assert_array_equal(back["u"].numpy(), state["u"].to(torch.int32).numpy())
    save_file({"x": torch.zeros(2, dtype=torch.float8_e4m3fn)}, tmp_path / "f")
    with pytest.raises(FormatError, match="the tensor 'x' is of type F8_E4M3, which is not supported"):
        pn.load(tmp_path / "f")
    save_file({"x": torch.zeros(2, dtype=torch.uint64)}, tmp_path / "f")
    with pytest.raises(FormatError, match=r"the tensor 'x' cannot be made: .*uint64"):
        pn.load(tmp_path / "f")


def test_a_pickle_is_refused_and_not_opened(tmp_path):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed to compare with")
    for old in (True, False):
        torch.save({"a": torch.ones(1)}, tmp_path / "f.pt", _use_new_zipfile_serialization=not old)
        with pytest.raises(FormatError, match=r"f.pt: it is a zip or pickle file, .* safetensors.torch.save_file"):
            pn.load(tmp_path / "f.pt")


# ---- what is refused ----


class Odd:
    pass


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"a": [1, Odd()]}, r"save: the entry \['a'\]\['1'\] is a Odd; what can be saved are"),
        (Odd(), "save: the object is a Odd"),
        ({1.5: 1}, r"save: the object has the key 1.5; keys must be str or int"),
        ({True: 1}, r"has the key True"),
        ({"a": {1, 2}}, "is a set"),
        (b"bytes", "is a bytes"),
        (1j, "is a complex"),
        ({"x": np.array(["a"])}, r"\['x'\] is an array of <U1"),
        ({"x": np.array([None])}, "is an array of object"),
        ({"x": np.zeros(2, complex)}, "is an array of complex128"),
        ({"m": nn.Linear(1, 1)}, r"\['m'\] is a Linear; save its state_dict"),
        (optim.SGD([pn.ones(1)]), "is a SGD; save its state_dict"),
        (nn.module.IncompatibleKeys([], []), "is a IncompatibleKeys"),
    ],
)
def test_what_cannot_be_saved(value, message, tmp_path):
    path = tmp_path / "f"
    pn.save(1, path)
    with pytest.raises(TypeError, match=message):
        pn.save(value, path)
    assert pn.load(path) == 1


def test_a_container_that_holds_itself_is_refused():
    value: list = [1]
    value.append({"again": value})
    with pytest.raises(ValueError, match=r"save: the entry \['1'\]\['again'\] is a container that holds itself"):
        pn.save(value, io.BytesIO())
    twice = [1]
    assert persistence.from_bytes(persistence.to_bytes([twice, twice])) == [[1], [1]]


ONE = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
DAMAGED = "it is damaged or no safetensors file"
HOSTILE = {
    "empty": (b"", DAMAGED),
    "a pickle": (b"\x80\x02}q\x00.", "it is a zip or pickle file, as torch.save writes it, and no safetensors file"),
    "a zip": (b"PK\x03\x04" + bytes(30), "it is a zip or pickle file, as torch.save writes it"),
    "a type that tensors lack": (
        file_of({"a": {"dtype": "F8_E4M3", "shape": [1], "data_offsets": [0, 1]}}, b"1"),
        "is of type F8_E4M3, which is",
    ),
    "noise": (bytes(range(256)) * 4, DAMAGED),
    "a header longer than the file": (struct.pack("<Q", 1000) + b"{}", DAMAGED),
    "a header of 2^63 bytes": (struct.pack("<Q", 2**63) + b"{}", DAMAGED),
    "a header of 2^64 - 1 bytes": (b"\xff" * 8 + b"{}", DAMAGED),
    "no JSON": (file_of(b"{not json}"), DAMAGED),
    "a list": (file_of([1]), DAMAGED),
    "not UTF-8": (file_of(b'{"\xff": 1}'), DAMAGED),
    "brackets without end": (file_of(b"[" * 100_000), DAMAGED),
    "overlapping offsets": (file_of({"a": ONE, "b": {**ONE, "data_offsets": [2, 6]}}, b"123456"), DAMAGED),
    "a hole": (file_of({"a": {**ONE, "data_offsets": [4, 8]}}, b"12345678"), DAMAGED),
    "offsets backwards": (file_of({"a": {**ONE, "data_offsets": [4, 0]}}, b"1234"), DAMAGED),
    "offsets past the end": (file_of({"a": {**ONE, "data_offsets": [0, 2**40], "shape": [2**38]}}, b"1234"), DAMAGED),
    "a shape of another size": (file_of({"a": {**ONE, "shape": [2]}}, b"1234"), DAMAGED),
    "a shape that overflows": (file_of({"a": {**ONE, "shape": [2**62, 2**62]}}, b"1234"), DAMAGED),
    "a negative shape": (file_of({"a": {**ONE, "shape": [-1]}}, b"1234"), DAMAGED),
    "an unknown type": (file_of({"a": {**ONE, "dtype": "F31"}}, b"1234"), DAMAGED),
    "bytes after the last tensor": (file_of({"a": ONE}, b"12345678"), DAMAGED),
    "metadata that is no text": (file_of({"__metadata__": {"pyneural": 1}}), DAMAGED),
    "NaN in the header": (file_of(b'{"__metadata__": {"a": NaN}}'), DAMAGED),
    "a name twice": (file_of(b'{"a": %s, "a": %s}' % (2 * (json.dumps(ONE).encode(),)), b"1234"), "twice|" + DAMAGED),
    "cut short, with a header as long as a pickle begins": (
        struct.pack("<Q", 0x280) + json.dumps({"a": ONE}).encode().ljust(0x280),
        DAMAGED,
    ),
    "cut short, with a header as long as a zip begins": (
        struct.pack("<Q", 0x4B50) + json.dumps({"a": ONE}).encode().ljust(0x4B50),
        DAMAGED,
    ),
    "too many dimensions": (file_of({"a": {**ONE, "shape": [1] * 9}}, b"1234"), "'a' cannot be made: .*at most 8"),
    "a shape too large for an array": (
        file_of({"a": {**ONE, "shape": [0, 2**62], "data_offsets": [0, 0]}}),
        r"'a' of shape \[0, .*too big|'a' of shape .*cannot be made|" + DAMAGED,
    ),
    "a newer version": (ours(1, version=2), "written by a newer pyneural, in version 2 of the format; this one reads"),
    "no version": (ours(1, version=None), "its header has no version"),
    "version true": (ours(1, version=True), "its header has no version"),
    "version 0": (ours(1, version=0), "its header has no version"),
    "no tree": (file_of({"__metadata__": {"pyneural": '{"version": 1}'}}), "its header has no structure"),
    "metadata that is no JSON": (file_of({"__metadata__": {"pyneural": "{"}}), "its header is no valid JSON"),
    "metadata that is a list": (file_of({"__metadata__": {"pyneural": "[1]"}}), "its header has no version"),
    "NaN in the metadata": (file_of({"__metadata__": {"pyneural": '{"version": NaN}'}}), "its header holds NaN"),
    "a key of the metadata twice": (
        file_of({"__metadata__": {"pyneural": '{"version": 1, "version": 1, "tree": 1}'}}),
        "a name stands in its header twice",
    ),
    "a number of 5000 digits": (
        file_of({"__metadata__": {"pyneural": '{"version": 1, "tree": ' + "9" * 5000 + "}"}}),
        "its header is no valid JSON",
    ),
    "a tree without end": (file_of({"__metadata__": {"pyneural": "[" * 100_000}}), "nested too deeply|no valid JSON"),
    "a tree too deep": (
        file_of({"__metadata__": {"pyneural": '{"version":1,"tree":' + '["list",' * 5000 + "1" + "]" * 5000 + "}"}}),
        "it is nested too deeply",
    ),
    "a tensor that is not there": (ours(["tensor", "a"]), "it lacks the tensor 'a' that its structure names"),
    "a tensor named twice": (ours(["list", ["tensor", "a"], ["array", "a"]], a="F32"), "or names it twice"),
    "a tensor that nothing names": (ours(["list"], a="F32", b="F32"), "its structure has no place for 'a', 'b'"),
    "an unknown kind": (ours(["code", "os.system"]), "its structure holds .*'code', 'os.system'.*not understood"),
    "a kind that is a list": (ours([["list"]]), "is not understood"),
    "a JSON object": (ours({"a": 1}), "is not understood"),
    "an empty node": (ours([]), "is not understood"),
    "a float that is code": (ours(["float", "__import__"]), "is not understood"),
    "a key twice": (ours(["dict", ["a", 1], ["a", 2]]), "is not understood"),
    "a key that is a list": (ours(["dict", [["a"], 1]]), "is not understood"),
    "a tensor without a name": (ours(["tensor"]), "is not understood"),
    "a tensor named by a number": (ours(["tensor", 1]), "is not understood"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name, tmp_path):
    content, message = HOSTILE[name]
    path = tmp_path / "hostile"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=f"load: .*hostile: .*({message})"):
        pn.load(path)


@pytest.mark.parametrize("seed", range(3))
def test_every_truncated_file_is_refused_and_every_flipped_bit_read_or_refused(seed):
    rng = np.random.default_rng(seed)
    whole = persistence.to_bytes({"w": pn.tensor(rng.normal(size=(3, 4))), "n": [1, "x", (2.5, None)]})
    for length in range(len(whole)):
        with pytest.raises(FormatError):
            persistence.from_bytes(whole[:length])
    for _ in range(2000):
        damaged = bytearray(whole)
        for at in rng.integers(0, len(whole), rng.integers(1, 4)):
            damaged[at] ^= 1 << rng.integers(8)
        try:
            persistence.from_bytes(bytes(damaged))
        except FormatError:
            continue  # and no other exception


# ---- writing ----


def test_a_file_is_whole_or_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "f"
    pn.save([1], path)
    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:

            def fail(*args):
                raise OSError("the disk is full")

            patch.setattr(_files.os, name, fail)
            with pytest.raises(OSError, match="disk is full"):
                pn.save([2], path)
        assert pn.load(path) == [1]
        assert [p.name for p in tmp_path.iterdir()] == ["f"]
    with pytest.raises(FileNotFoundError):
        pn.save([1], tmp_path / "no such folder" / "f")


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "sub" / "real")
    pn.save("through", tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert pn.load(tmp_path / "sub" / "real") == "through"
