"""What the machine computes on, and how precisely."""

import torch


def best():
    """The GPU where there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def fast_bf16(device):
    """Whether a device computes in bf16 itself: GPUs from Ampere on, and CPUs with AMX tiles."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device.type == "cpu" and bool(torch.cpu.get_capabilities().get("amx_bf16"))
