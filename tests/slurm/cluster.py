"""A real Slurm of virtual nodes on this machine (lab/lab.sh), for tests marked `slurm`: root and Debian's packages."""

import os
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.processes import ROOT, not_tested

LAB = Path(__file__).parent / "lab" / "lab.sh"
# seconds until Slurm calls a silent node dead: a busy machine that runs three of them stalls for some
PATIENCE = {"LAB_SLURMD_TIMEOUT": "30", "LAB_MESSAGE_TIMEOUT": "10", "LAB_KILL_WAIT": "15"}
ENDED = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "DEADLINE", "BOOT_FAIL"}


def require_slurm() -> None:
    """Skips, and says so, where there is none; `.ci/run` installs it, and there its absence is a failure."""
    if os.geteuid() == 0 and all(shutil.which(command) for command in ("slurmctld", "slurmd", "sbatch", "munged")):
        return
    why = "Slurm is NOT tested in this run: it takes root, and slurmctld, slurmd, slurm-client and munge installed"
    not_tested(why)


class SlurmCluster:
    """`folder` is what all nodes see, beside the checkout and its venv."""

    def __init__(self, folder: Path, num_nodes: int = 3) -> None:
        self.folder, self.num_nodes = folder, num_nodes

    def __enter__(self) -> "SlurmCluster":
        require_slurm()
        shared = {str(self.folder), str(ROOT), str((ROOT / ".venv").resolve())}
        self._lab("start", str(self.num_nodes), LAB_SHARED=":".join(sorted(shared)), **PATIENCE)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._lab("stop")

    def run(self, *command: str | Path) -> str:
        """On the login node; its output."""
        return self._lab("exec", *map(str, command))

    def submit(self, *command: str | Path) -> int:
        """The id of the job."""
        return int(self.run("sbatch", "--parsable", *command).split(";")[0])

    def state(self, job: int) -> str:
        return self.run("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%T").strip()

    def wait(self, job: int, timeout_s: float) -> str:
        """Until it ends, whatever befalls it; the state it ended in. A requeued job does not wait its two minutes."""
        deadline = time.monotonic() + timeout_s
        while (state := self.state(job)) not in ENDED:
            if time.monotonic() > deadline:
                told = self.run("scontrol", "show", "job", str(job)) + self.run("sinfo", "--list-reasons")
                log = Path(told.partition("StdOut=")[2].partition("\n")[0]).read_text()
                raise TimeoutError(f"job {job} is {state} after {timeout_s} s\n{told}\n{log}")
            if state == "PENDING" and "BeginTime" in self.run("squeue", "-h", f"--jobs={job}", "--format=%r"):
                self.run("scontrol", "update", f"jobid={job}", "StartTime=now+2")
            time.sleep(0.5)
        return state

    def exit_code(self, job: int) -> int:
        told = self.run("scontrol", "show", "job", str(job))
        return int(told.partition("ExitCode=")[2].partition(":")[0])

    def cut_power(self, node: int) -> None:
        """The node dies at once, and nobody is told: no packet leaves it."""
        self._lab("net-down", str(node))
        self._lab("node-kill", str(node))

    def power_on(self, node: int) -> None:
        self._lab("node-up", str(node))

    def _lab(self, verb: str, *arguments: str, **environment: str) -> str:
        done = subprocess.run([LAB, verb, self.folder, *arguments], cwd=ROOT, env=os.environ | environment,
                              capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
        assert done.returncode == 0, f"lab.sh {verb} {' '.join(arguments)}: {done.stderr}"
        return done.stdout
