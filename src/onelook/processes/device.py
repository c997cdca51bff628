"""Which device runs the model, in which precision and memory layout."""

from __future__ import annotations

import platform

import torch

from onelook.errors import DeviceError, SettingsError, counted


def device_names(text: str) -> list[str]:
    """The devices that `text` names, one or several.

    >>> device_names("cuda:0,1")
    ['0', '1']
    >>> device_names("")
    ['']

    Raises:
        SettingsError: one is named twice.
    """
    names = [name.strip().removeprefix("cuda:") for name in text.strip().lower().split(",")]
    if len(set(names)) < len(names):
        raise SettingsError(f"setting `device` is `{text}`, which names a device twice", hint="name each once")
    return names


def select_device(text: str, local_rank: int = 0) -> torch.device:
    """The device that `text` names: "cpu", a GPU number, "cuda:N", "mps", or "" for a GPU if there is one.

    Args:
        text: the device as typed; of several, process `local_rank` of this machine takes the one with its number.
        local_rank: also the number of the GPU that the empty text means.

    Raises:
        DeviceError: the device is absent.
        SettingsError: the text names no device, or not as many as there are processes.
    """
    names = device_names(text)
    if len(names) > 1 and local_rank >= len(names):
        raise SettingsError(
            f"setting `device` names {len(names)} devices, but there are more processes on this machine",
            hint="start as many processes as devices",
        )
    name = names[local_rank] if len(names) > 1 else names[0]
    if name == "":
        name = str(local_rank) if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("setting `device` is `mps`, but this machine has none", hint="use `--device cpu`")
        return torch.device("mps")
    if name == "cuda":
        name = "0"
    if not name.isdigit():
        raise SettingsError(f"setting `device` is `{text}`", hint="use cpu, mps, or the number of one GPU, such as 0")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if int(name) >= count:
        if not text.strip():
            raise DeviceError(
                f"process {local_rank} needs a GPU of its own, but this machine has {counted(count, 'usable GPU')}",
                hint=f"use `--nproc {count}` or `--device cpu`",
            )
        raise DeviceError(
            f"setting `device` is `{text}`, but this machine has {counted(count, 'usable GPU')}",
            hint=("use `--device 0`" if count == 1 else f"use a number from 0 to {count - 1}")
            if count
            else "use `--device cpu`, or install a build of torch that fits your GPU",
        )
    return torch.device("cuda", int(name))


def describe_device(device: torch.device, num_processes: int = 1) -> str:
    """The device in words, with memory or threads, and how many processes there are if several."""
    text = device.type
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        text = f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB"
    if device.type == "cpu":
        threads = torch.get_num_threads()
        text = f"CPU ({platform.machine()}), {counted(threads, 'thread')}"
    return text if num_processes == 1 else f"{num_processes} processes, each {text}"


def amp_dtype(choice: str, device: torch.device) -> torch.dtype | None:
    """The type of mixed-precision arithmetic, or None for plain float32.

    Args:
        choice: "auto", "off", "bf16" or "fp16"; auto means bf16 where a GPU has it, else fp16, and nothing on the CPU.

    Raises:
        SettingsError: fp16 on a CPU, where gradients would need a scaler that only GPUs have.
    """
    if choice == "off" or (choice == "auto" and device.type != "cuda"):
        return None
    if choice == "fp16":
        if device.type != "cuda":
            raise SettingsError(f"`amp: fp16` needs a GPU, the device is `{device.type}`", hint="use bf16 or off")
        return torch.float16
    if choice == "bf16":
        return torch.bfloat16
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16
