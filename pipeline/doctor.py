"""`penstock doctor`: what this machine can run, and what is missing."""

import importlib.metadata
import os
import platform
import shutil
from typing import Any

PACKAGES = (
    "torch",
    "deepspeed",
    "megatron-core",
    "ray",
    "pyarrow",
    "datatrove",
    "sentencepiece",
    "transformers",
    "peft",
)
COMMANDS = {"sbatch": "Slurm jobs", "nvidia-smi": "GPUs"}


def examine() -> dict[str, Any]:
    """Name -> finding, in the order a reader wants them."""
    found: dict[str, Any] = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = f"MISSING: pip install {package}"
    found["cores"] = len(os.sched_getaffinity(0))
    found["memory"] = f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.0f} GiB"
    found["disk here"] = f"{shutil.disk_usage('.').free / 2**30:.0f} GiB free"
    found["gpu"] = _gpus()
    for command, use in COMMANDS.items():
        found[command] = shutil.which(command) or f"not here: no {use} from this machine"
    return found


def _gpus() -> str:
    try:
        import torch
    except ImportError:
        return "unknown: torch is missing"
    if not torch.cuda.is_available():
        return "none: training runs on CPU (gloo)"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
