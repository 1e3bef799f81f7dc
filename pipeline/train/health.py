"""Stops that are wanted, and trouble that must not pass silently."""

import faulthandler
import logging
import re
import signal
from pathlib import Path
from types import FrameType

import torch
import torch.distributed as dist

from pipeline.core.errors import PenstockError, UnhealthyNode, UserError

logger = logging.getLogger(__name__)

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
LOST_RANK = re.compile(
    r"Connection closed by peer|Connection reset by peer|Timed out waiting|ncclRemoteError|Broken pipe", re.I
)


class Watch:
    """What the ranks of a run tell each other between steps. `stack_file`: SIGUSR2 writes all stacks there."""

    def __init__(self, stack_file: Path) -> None:
        self.stop_signal: int | None = None
        # A handler does not run while Python waits in a collective; so it only notes the signal.
        for number in STOP_SIGNALS:
            signal.signal(number, self._note)
        self._stacks = open(stack_file, "a")  # noqa: SIM115 - the handler needs its descriptor
        faulthandler.register(signal.SIGUSR2, file=self._stacks, all_threads=True)  # works in a collective, too

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.stop_signal = number

    def agree(self, writing: bool) -> tuple[bool, bool]:
        """(some rank was told to stop, some rank still writes a checkpoint): the same answer on every rank."""
        flags = torch.tensor([self.stop_signal is not None, writing], dtype=torch.int32)
        dist.all_reduce(flags, op=dist.ReduceOp.MAX)
        return bool(flags[0]), bool(flags[1])


def diverged(step: int, loss: float, grad_norm: float, lr: float, last_checkpoint: int | None) -> UserError:
    """Why the run ends. To go on would destroy the weights; to start again would end the same way."""
    saved = f"the newest checkpoint is that of step {last_checkpoint}" if last_checkpoint else "there is no checkpoint"
    return UserError(
        f"loss {loss} and gradient norm {grad_norm} at step {step} (learning rate {lr:.2e}): the run has diverged; "
        f"{saved}. Lower optim.lr, or lengthen schedule.warmup_steps"
    )


def lost_rank(error: Exception) -> PenstockError | None:
    """The death or hang of another rank, if that is what this error of a collective means."""
    if isinstance(error, PenstockError):
        return None
    found = LOST_RANK.search(str(error))
    if not found and not isinstance(error, dist.DistNetworkError | dist.DistStoreError):
        return None
    logger.debug("the collective said: %s", error)
    said = found.group().lower() if found else "it does not answer"
    return UnhealthyNode(f"another rank died or hangs ({said}); the same command goes on from the newest checkpoint")
