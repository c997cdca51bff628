"""Files that want to run code, fill the memory, or lie: name -> (bytes, what the refusal must say).

Whatever runs would leave a file called `marker` in the current folder.
"""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import tarfile
import zipfile

from pickles import blob, call, checkpoint, made, module, named, number, program, storage, tensor, text, value
from zips import FOLDER, End, Part, archive, end64, torch_archive

Hostile = dict[str, tuple[bytes, str]]
SHELL = "touch marker"
PYTHON = "open('marker', 'w')"
MAGIC = 0x1950A86A20F9469CFC6C


def around(part: bytes) -> bytes:
    """A checkpoint that has `part` where nobody needs it."""
    return torch_archive(program(value({"epoch": -1, "extra": part, "model": None})))


def calls() -> Hostile:
    """Pickles that call something."""
    system = named("os.system")
    chain = call("builtins.getattr", call("builtins.__import__", "os"), "system")
    via_state = made("collections.OrderedDict", {"__reduce__": (system, (SHELL,))})
    cases = {
        "os.system": (call("os.system", SHELL), "wants to call `os.system`"),
        "posix.system": (call("posix.system", SHELL), "wants to call `posix.system`"),
        "nt.system": (call("nt.system", SHELL), "wants to call `nt.system`"),
        "eval": (call("builtins.eval", PYTHON), "wants to call `builtins.eval`"),
        "exec in the spelling of Python 2": (call("__builtin__.exec", PYTHON), "wants to call `__builtin__.exec`"),
        "import": (call("builtins.__import__", "antigravity"), "wants to call `builtins.__import__`"),
        "chain of getattr": (call(chain, SHELL), "wants to call `builtins.__import__`"),
        "resolve_name": (call("pkgutil.resolve_name", "os:system"), "wants to call `pkgutil.resolve_name`"),
        "torch.hub": (call("torch.hub.load", "a/b", "c"), "wants to call `torch.hub.load`"),
        "torch.load": (call("torch.load", "marker"), "wants to call `torch.load`"),
        "torch.storage": (call("torch.storage._load_from_bytes", blob(b"x")), "`torch.storage._load_from_bytes`"),
        "subprocess": (call("subprocess.Popen", ["touch", "marker"]), "wants to call `subprocess.Popen`"),
        "partial": (call("functools.partial", system, SHELL), "wants to call `functools.partial`"),
        "operator": (call("operator.attrgetter", "system"), "wants to call `operator.attrgetter`"),
        "numpy load": (call("numpy.load", "marker", None, True), "wants to call `numpy.load`"),
        "runpy": (call("runpy.run_path", "marker"), "wants to call `runpy.run_path`"),
        "nested pickle": (call("pickle.loads", blob(program(call("os.system", SHELL)))), "wants to call"),
        "method of our own": (call("onelook.runs.checkpoint.load_checkpoint", "x"), "wants to call `onelook."),
        "tensor rebuilder": (call("torch._utils._rebuild_qtensor", 1), "wants to call `torch._utils._rebuild_qtensor`"),
        "dotted name": (call("torch._utils.sys.modules.os.system", SHELL), "wants to call `torch._utils.sys."),
        "terminal codes": (call("os.\x1b[2Jsystem", SHELL), r"wants to call `os.\x1b[2Jsystem`"),
        "call of a text": (text("os.system") + value((SHELL,)) + b"R", "calls `os.system`"),
        "call of an object": (made("os.system") + value((SHELL,)) + b"R", "calls an object of `os.system`"),
        "object of a function": (text("eval") + value((PYTHON,)) + b"\x81", "makes an object of `eval`"),
        "state for a class": (named("os.system") + value({"a": 1}) + b"b", "sets the state of `os.system`"),
        "slots": (value({}) + value((None, {"__class__": 1})) + b"b", "sets the state of a dict"),
        "state twice": (made("a.B", {"c": 1}) + value({"d": 2}) + b"b", "sets the state of an object of `a.B`"),
        "INST": (b"(" + text(SHELL) + b"ios\nsystem\n", "the operation INST"),
        "OBJ": (b"(" + system + text(SHELL) + b"o", "the operation OBJ"),
        "extension registry": (b"\x82\x01", "the operation EXT1"),
        "text persistent id": (b"Pos.system\n", "the operation PERSID"),
        "persistent id": (value(("call", system)) + b"Q", "a persistent id is"),
        "storage of a path": (value(("storage", system, "../../marker", "cpu", 1)) + b"Q", "a storage has the key"),
        "made through state": (via_state, "neither `model` nor `ema`"),
        "made with keywords": (system + value((SHELL,)) + value({}) + b"\x92", "neither `model` nor `ema`"),
    }
    return {name: (around(part), says) for name, (part, says) in cases.items()}


def bombs() -> Hostile:
    """Pickles that would take much more memory or time than their size suggests."""
    lists = b"".join(b"0](" + _memo(i) * 2 + b"eq" + bytes([i + 1]) for i in range(60))
    tuples = b"".join(b"0" + _memo(i) * 2 + b"\x86q" + bytes([i + 1]) for i in range(60))
    doubled_list, doubled_tuple = b"]q\0" + lists, b"Nq\0" + tuples
    fan = _fan_of_modules()
    cases = {
        "doubling lists as a definition": (
            checkpoint(module("models.yolo.Model", yaml={"head": doubled_list})),
            "values",
        ),
        "doubling tuple as a key": (program(b"}" + doubled_tuple + b"Ns"), "as the key of a dictionary"),
        "doubling tuple in a set": (program(call("builtins.set", b"](" + doubled_tuple + b"e")), "not the dictionary"),
        "modules of modules": (checkpoint(fan), "more than 10000 modules"),
        "LONG4": (program(b"\x8b" + struct.pack("<i", 2**31 - 1)), "an integer of 2147483647 bytes"),
        "LONG1": (program(b"\x8a\xff" + b"\xff" * 255), "an integer of 255 bytes"),
        "negative LONG4": (program(b"\x8b" + struct.pack("<i", -1)), "an integer of 4294967295 bytes"),
        "long text": (program(b"X" + struct.pack("<I", 2**32 - 1)), "wants 4294967295 bytes"),
        "longer text": (program(b"\x8d" + struct.pack("<Q", 2**63)), f"wants {2**63} bytes"),
        "long bytes": (program(b"\x8e" + struct.pack("<Q", 2**40)), f"wants {2**40} bytes"),
        "frame": (program(b"\x95" + struct.pack("<Q", 2**60)), "claims a frame"),
        "open marks": (program(b"(" * 5000), "nested deeper than 1000"),
        "deep tuple": (program(b"N" + b"\x85" * 20_000), "holds a tuple"),
        "deep list": (program(b"]" + b"]" * 20_000 + b"a" * 20_000), "not the dictionary"),
        "deep object": (program((named("a.B") + b")\x81") * 20_000 + b"b" * 19_999), "it holds an object of `a.B`"),
        "name without end": (program(b"c" + b"o" * 20_000), "name of more than 256 bytes"),
        "memo of nothing": (program(b"j\xff\xff\xff\xff"), "refers to value 4294967295"),
        "large pickle": (program(value(["x" * (17 << 20)])), "more than the limit of 16777216"),
    }
    return {name: (torch_archive(part), says) for name, (part, says) in cases.items()}


def _memo(place: int) -> bytes:
    return b"h" + bytes([place])


def _fan_of_modules() -> bytes:
    """A module with ten children, each of which has the same ten, and so on: ten billion, if written out."""
    layer = module("torch.nn.modules.linear.Identity") + b"q\1"
    for depth in range(1, 11):
        children = {str(child): _memo(depth) for child in range(10)}
        parts = {"_parameters": {}, "_buffers": {}, "_modules": children}
        layer += b"0" + made("torch.nn.modules.container.Sequential", parts) + b"q" + bytes([depth + 1])
    return layer + b"0" + module("models.yolo.Model", modules={"model": b"h\x0b"})


def tensors() -> Hostile:
    """Tensors that reach outside of what the file holds."""

    def holding(part: bytes, storages: dict[str, bytes] | None = None) -> bytes:
        model = module("models.yolo.Model", parameters={"weight": part}, yaml={})
        return torch_archive(checkpoint(model), storages)

    rebuild = "torch._utils._rebuild_tensor_v2"
    return {
        "huge storage": (holding(storage("0", 2**62)), "claims `4611686018427387904` elements"),
        "negative storage": (holding(storage("0", -1)), "claims `-1` elements"),
        "negative stride": (holding(tensor("0", (4,), (-1,), count=4)), "the stride `(-1,)`"),
        "negative offset": (holding(tensor("0", (4,), (1,), count=4, offset=-9)), "the offset `-9`"),
        "negative size": (holding(tensor("0", (-4,), (1,), count=4)), "the size `(-4,)`"),
        "beyond the end": (holding(tensor("0", (4,), (1,), count=4, offset=1)), "ends at element 5"),
        "stride beyond the end": (holding(tensor("0", (2, 2), (9, 1), count=4)), "ends at element 11"),
        "overflowing size": (holding(tensor("0", (2**39, 2**39), (2**39, 1), count=4)), "does not fit"),
        "many dimensions": (holding(tensor("0", (1,) * 9, (1,) * 9, count=4)), "has the offset `0`"),
        "size of texts": (holding(call(rebuild, storage("0", 4), 0, ("4",), (1,), False, {})), "has the offset"),
        "size and stride differ": (holding(tensor("0", (2, 2), (1,), count=4)), "has the offset"),
        "no storage": (holding(call(rebuild, "0", 0, (4,), (1,), False, {})), "not those of a tensor"),
        "too few arguments": (holding(call(rebuild)), "0 arguments"),
        "size true": (holding(tensor("0", (True,), (1,), count=4)), "has the offset"),
    }


GOOD = (Part(f"{FOLDER}/data.pkl", program(value({}))), Part(f"{FOLDER}/data/0", bytes(64)))


def kinds() -> Hostile:
    """Files that are no zip archive."""
    tape = io.BytesIO()
    with tarfile.open(fileobj=tape, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    legacy = pickle.dumps(MAGIC, protocol=2) + pickle.dumps(1001, protocol=2)
    return {
        "empty": (b"", "it is empty"),
        "legacy file": (legacy, "the legacy format that PyTorch wrote before 1.6"),
        "legacy tar": (tape.getvalue(), "a tar archive"),
        "bare pickle": (pickle.dumps({"a": 1}, protocol=2), "a bare pickle"),
        "7z": (b"7z\xbc\xaf\x27\x1c\0\4" + bytes(100), "a 7z archive"),
        "gzip": (gzip.compress(archive(GOOD)), "a gzip archive"),
        "web page": (b"<!DOCTYPE html><html>404</html>", "a web page"),
        "pointer of Git LFS": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
        "safetensors": (b"\x08\0\0\0\0\0\0\0{}      ", "a safetensors file"),
        "program": (b"\x7fELF" + bytes(100), "a program"),
        "noise": (bytes(range(7, 200)), "begins with the bytes 07 08 09"),
    }


def archives() -> Hostile:
    """Archives of something else."""
    good = list(GOOD)
    deflated = io.BytesIO()
    with zipfile.ZipFile(deflated, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr(f"{FOLDER}/data.pkl", bytes(1 << 20))
    inner = archive(good)
    return {
        "compressed": (deflated.getvalue(), "is compressed (method 8)"),
        "nested zip": (archive([Part(f"{FOLDER}/data.pkl", inner)]), "begins with the bytes 50 4b 03 04"),
        "no pickle": (archive([Part("readme.txt", b"hello")]), "0 members `data.pkl`"),
        "two pickles": (archive([good[0], Part("b/data.pkl", b"")]), "2 members `data.pkl`"),
        "the same member twice": (archive([good[0], good[0]]), "is there twice"),
        "TorchScript": (archive([good[0], Part(f"{FOLDER}/constants.pkl", b"")]), "a TorchScript program"),
        "big-endian": (archive([good[0], Part(f"{FOLDER}/byteorder", b"big")]), "its byteorder is `big`"),
        "another version": (archive([good[0], Part(f"{FOLDER}/version", b"7\n")]), "its version is `7`"),
        "wrong checksum": (archive([Part(f"{FOLDER}/data.pkl", program(b"}"), crc=1)]), "the checksum of member"),
        "no dictionary": (torch_archive(program(number(3))), "it holds `3`, not the dictionary"),
    }


def lies() -> Hostile:
    """Archives whose headers do not agree with what they hold."""

    def lie(**changes: object) -> bytes:
        return archive([GOOD[0], Part(f"{FOLDER}/data/0", bytes(64), **changes)])  # type: ignore[arg-type]

    return {
        "encrypted": (lie(flags=0x0801), "is encrypted"),
        "size beyond the file": (lie(size=2**31), "is not where the directory says"),
        "size beyond the file, twice": (lie(size=2**31, local_size=2**31), "reaches into the directory"),
        "packed size": (lie(packed=1), "claims 1 bytes for 64"),
        "bytes behind the last member": (lie(size=1, local_size=1), "do not end where its directory starts"),
        "other name inside": (lie(local_name=f"{FOLDER}/data/1"), "is not where the directory says"),
        "header beyond the file": (lie(header=2**31), "belong to none"),
        "header of another member": (lie(header=0), "overlaps the one before it"),
        "size in a part that is not there": (lie(size=0xFFFFFFFF), "the size of member"),
        "zip64 size": (lie(size=0xFFFFFFFF, packed=64, extra=struct.pack("<2HQ", 1, 8, 2**63)), "claims 64 bytes"),
        "zip64 header": (lie(header=0xFFFFFFFF, extra=struct.pack("<2HQ", 1, 8, 2**64 - 1)), "belong to none"),
    }


def ends() -> Hostile:
    """Archives whose end does not agree with what stands before it."""
    whole = archive(GOOD)
    start, length = whole.index(b"PK\1\2"), whole.index(b"PK\5\6") - whole.index(b"PK\1\2")
    place = start + length

    def ending(**changes: object) -> bytes:
        return archive(GOOD, End(**changes))  # type: ignore[arg-type]

    return {
        "more members than there are": (ending(count=9), "it has 2 members, its end says 9"),
        "fewer members than there are": (ending(count=1), "it has 2 members, its end says 1"),
        "directory elsewhere": (ending(start=5), "is not where its end says"),
        "directory too long": (ending(length=2**31), "claims 2 members in 2147483648 bytes"),
        "something added": (ending(after=b"#!/bin/sh"), "something was added"),
        "something before": (b"PK\3\4" + bytes(60) + whole, "is not where its end says"),
        "zip64 end elsewhere": (
            ending(before=end64(2, length, start, place, told_place=5)), "zip64 end is not where its locator says",
        ),
        "zip64 end with other numbers": (ending(before=end64(3, length, start, place)), "contradict each other"),
        "zip64 end with huge numbers": (
            ending(before=end64(2**60, 2**61, start, place), count=0xFFFF, length=0xFFFFFFFF),
            f"claims {2**60} members in {2**61} bytes",
        ),
        "cut in the middle": (whole[: len(whole) // 2], "its end is missing"),
        "cut at the end": (whole[:-1], "its end is missing"),
        "a long head": (b"PK\3\4", "its end is missing"),
    }  # fmt: skip


def everything() -> Hostile:
    return {**calls(), **bombs(), **tensors(), **kinds(), **archives(), **lies(), **ends()}
