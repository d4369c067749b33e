"""The device to compute on, and whether bf16 is fast there."""

import torch

# Intel's tiles, from Sapphire Rapids on; AVX-512's products, those of AMD from Zen 4 on. Without either bf16 is slower.
BF16 = ("amx_bf16", "avx512_bf16")


def best() -> torch.device:
    """Return the GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_bf16(device: torch.device) -> bool:
    """Tell whether a device multiplies in bf16 itself: GPUs from Ampere on, and CPUs with instructions for it.

    Told by the CPU's flags, never by a timing, which would change results from run to run.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    flags = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return any(flags.get(flag) for flag in BF16)
