"""Recognises by its first bytes what a file is that should be a zip archive of PyTorch, for the error message."""

from __future__ import annotations

from onelook.errors import CheckpointError

HEAD_BYTES = 512
_LEGACY_MAGIC = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19"  # LONG1, 10 bytes, 0x1950a86a20f9469cfc6c
_CONVERT = "open it where it was trained and save it again with PyTorch 1.6 or newer"
_FETCH = "fetch the file itself"

_STARTS: dict[bytes, tuple[str, str]] = {
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "no trainer stores weights like this: do not open the file elsewhere"),
    b"\x1f\x8b": ("a gzip archive", "unpack it first"),
    b"\xfd7zXZ\x00": ("an xz archive", "unpack it first"),
    b"BZh": ("a bzip2 archive", "unpack it first"),
    b"Rar!": ("a RAR archive", "no trainer stores weights like this: do not open the file elsewhere"),
    b"\x7fELF": ("a program", "do not run it"),
    b"MZ": ("a program", "do not run it"),
    b"version https://git-lfs": ("the pointer of a Git LFS file", "fetch the file itself: `git lfs pull`"),
    b"<": ("a web page or XML", _FETCH),
    b"\x89HDF": ("an HDF5 file", "that is another framework's format"),
}


def refuse_by_head(head: bytes) -> None:
    """Raise CheckpointError, which says what the file is, unless it begins as a zip archive."""
    if head.startswith(b"PK\x03\x04"):
        return
    what, hint = _kind(head)
    raise CheckpointError(f"it is {what}, not a zip archive of PyTorch", hint=hint)


def _kind(head: bytes) -> tuple[str, str]:
    if not head:
        return "empty", _FETCH
    if head[257:262] == b"ustar":
        return "a tar archive, as PyTorch wrote before 0.1.10", _CONVERT
    if head[:1] == b"\x80" and head[2:14] == _LEGACY_MAGIC:
        return "a file in the legacy format that PyTorch wrote before 1.6", _CONVERT
    if head[:1] == b"\x80" and len(head) > 1 and head[1] <= 5:
        return "a bare pickle", "a checkpoint of YOLOv5 is a zip archive; do not open this file elsewhere"
    if head[8:9] == b"{":
        return "a safetensors file", "name it `.safetensors`"
    for start, (what, hint) in _STARTS.items():
        if head.startswith(start):
            return what, hint
    shown = " ".join(f"{byte:02x}" for byte in head[:8])
    return f"a file that begins with the bytes {shown}", _FETCH
