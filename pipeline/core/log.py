"""Logging: rank 0 speaks to people on stderr, every rank writes to its file. Of other libraries only warnings."""

import logging
import sys
from pathlib import Path

FORMAT = "%(asctime)s %(levelname).1s %(name)s: %(message)s"

_CONTROLS = {code: f"\\x{code:02x}" for code in (*range(9), *range(11, 32), *range(127, 160))}


def printable(text: str) -> str:
    r"""Raw text holds escape sequences, which would command the terminal of whoever looks at it: they become "\x1b"."""
    return text.translate(_CONTROLS)


class _Printable(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def setup_logging(rank: int = 0, file: Path | None = None, level: int = logging.INFO) -> None:
    """Root logger for this process; called once by the command, never by library code."""
    handlers: list[logging.Handler] = []
    terminal = logging.StreamHandler(sys.stderr)
    terminal.setLevel(level if rank == 0 else logging.ERROR)
    terminal.setFormatter(_Printable("%(message)s" if rank == 0 else f"rank {rank}: %(message)s"))
    handlers.append(terminal)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        to_file = logging.FileHandler(file, encoding="utf-8")
        to_file.setFormatter(logging.Formatter(FORMAT))
        handlers.append(to_file)
    logging.basicConfig(level=logging.WARNING, handlers=handlers, force=True)
    logging.getLogger("pipeline").setLevel(level)
    logging.captureWarnings(True)
    for noisy in ("py.warnings", "DeepSpeed", "deepspeed", "megatron", "torch.distributed", "urllib3", "ray"):
        logging.getLogger(noisy).setLevel(logging.ERROR)
