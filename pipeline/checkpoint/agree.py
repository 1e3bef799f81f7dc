"""One rank's error becomes every rank's error, instead of the others hanging in the next collective."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.distributed as dist

from pipeline.core import errors

MESSAGE_BYTES = 2000


def agree(error: BaseException | None) -> None:
    """Every rank calls it; returns if no rank has an error, else raises on all of them with the first one's message.

    It is also a barrier. The mistakes of users keep their class, and with it their exit code; a rank raises its own
    error unchanged. Without a process group (one process, tests) there is nobody to ask. Uses CPU tensors (gloo).
    """
    if not dist.is_initialized() or dist.get_world_size() == 1:
        if error:
            raise error
        return
    first = torch.tensor(dist.get_rank() if error else dist.get_world_size())
    dist.all_reduce(first, op=dist.ReduceOp.MIN)
    if first.item() == dist.get_world_size():
        return
    kind, message = type(error).__name__, str(error)
    text = f"{kind}\n{message}".encode()[:MESSAGE_BYTES] if error else b""
    told = torch.zeros(MESSAGE_BYTES, dtype=torch.uint8)
    told[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8) if text else told[:0]
    dist.broadcast(told, src=int(first.item()))
    if error:
        raise error
    kind, _, message = bytes(told.tolist()).rstrip(b"\0").decode(errors="replace").partition("\n")
    known = getattr(errors, kind, None)
    if isinstance(known, type) and issubclass(known, errors.PenstockError):
        raise known(message)
    raise RuntimeError(f"rank {int(first.item())}: {kind}: {message}")


@contextmanager
def agreed() -> Iterator[None]:
    """What goes wrong within on one rank goes wrong on every rank: each enters, each leaves the same way.

    An OSError becomes a mistake that keeps its class on the other ranks: only one of them may be unable to read a file.
    """
    error: Exception | None = None
    try:
        yield
    except OSError as caught:
        error = errors.storage_error(caught) or errors.ArtifactError(str(caught))
    except Exception as caught:  # noqa: BLE001 - raised by agree() on every rank
        error = caught
    agree(error)
