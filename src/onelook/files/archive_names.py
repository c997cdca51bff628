"""Which names in an archive are safe to unpack: those that mean the same path on every system."""

from __future__ import annotations

import unicodedata

MAX_NAME_BYTES = 1000
MAX_PART_BYTES = 255

# Neither letters nor spaces nor signs that one can see: control, invisible formatting, halves of letters, private use.
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_NOT_ON_WINDOWS = frozenset('<>:"|?*')
_DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "clock$", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"]
)


def refusal_of(name: str) -> str | None:
    """Why a member of an archive may not become a file of this name, with `/` between folders; None if it may.

    >>> refusal_of("images/1.jpg"), refusal_of("../1.jpg")
    (None, 'it leaves the folder')
    """
    if not name:
        return "it has no name"
    if any(unicodedata.category(letter) in _INVISIBLE for letter in name):
        return "it has invisible characters"
    if "\\" in name:
        return "it has a backslash"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it has more than {MAX_NAME_BYTES} bytes"
    # Some systems take look-alikes, such as full-width dots and slashes, for the real ones.
    for form in (name, unicodedata.normalize("NFKC", name)):
        if form.startswith(("/", "~")):
            return "it is absolute"
        if form.count("/") != name.count("/") or "\\" in form:
            return "it has something that looks like a slash"
        for part in form.removesuffix("/").split("/"):
            reason = _refusal_of_part(part)
            if reason is not None:
                return reason
    return None


def key_of(name: str) -> str:
    """Equal for names that are one file on some system: upper and lower case, composed and decomposed letters."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", name).casefold()).removesuffix("/")


def _refusal_of_part(part: str) -> str | None:
    if part == "..":
        return "it leaves the folder"
    if part in ("", "."):
        return "a part of it is empty"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"a part of it has more than {MAX_PART_BYTES} bytes"
    if part != part.strip() or part.endswith("."):
        return "a part of it begins or ends with a space, or ends with a dot"
    if _NOT_ON_WINDOWS & set(part):
        return f"it has one of {' '.join(sorted(_NOT_ON_WINDOWS))}"
    if part.split(".")[0].strip().casefold() in _DEVICES:
        return f"`{part.split('.')[0]}` is a device on Windows"
    return None
