"""How much memory there is, how much is in use, and whether a problem means that there was too little."""

from __future__ import annotations

import errno

import torch

OUT_OF_MEMORY_TEXTS = (
    "out of memory",  # CUDA, HIP, MPS; pinning; the text inside torch.AcceleratorError
    "can't allocate memory",  # torch's CPU allocator on Linux
    "not enough memory",  # the same on Windows
    "alloc_failed",  # cuBLAS, cuDNN, cuSPARSE
    "could not create a primitive",  # oneDNN: torch 2.13 raises just this where its code or scratch memory does not fit
    "could not create a memory",  # oneDNN
    "bad_alloc",  # C++
    "insufficient memory",  # OpenCV
    "unable to allocate",  # NumPy
)


def is_out_of_memory(problem: BaseException) -> bool:
    """Whether `problem` says that memory, of the machine or of a device, did not suffice.

    Libraries name this in many ways, most of them plain `RuntimeError`; so their texts are looked at too. Errors that
    were raised from such a problem count as well.
    """
    if isinstance(problem, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(problem, OSError):
        return problem.errno == errno.ENOMEM
    if problem.__cause__ is not None and is_out_of_memory(problem.__cause__):
        return True
    text = str(problem).lower()
    return isinstance(problem, Exception) and any(known in text for known in OUT_OF_MEMORY_TEXTS)
