"""The hint for a name that is not known."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest_name(name: str, names: Iterable[str], *, otherwise: str | None = None) -> str:
    """The one among `names` that is most like `name`; if none is: `otherwise`, or all of them.

    >>> nearest_name("Batch-Siz", ["batch_size", "imgsz"])
    'did you mean `batch_size`?'
    """
    known = {_plain(one): one for one in names}
    near = difflib.get_close_matches(_plain(name), known, n=1, cutoff=0.5)
    if near:
        return f"did you mean `{known[near[0]]}`?"
    return f"known are {', '.join(known.values())}" if otherwise is None else otherwise


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")
