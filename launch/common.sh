# shellcheck shell=bash
# Shared by the launch scripts: the interpreter, the settings every rank runs under, and how ranks are started and ended.
# Sourced, not run.

# The checkout, the interpreter of its venv (or PENSTOCK_PYTHON, or the first python3), and the command.
PENSTOCK_ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
PYTHON="${PENSTOCK_PYTHON:-$PENSTOCK_ROOT/.venv/bin/python}"
[[ -x "$PYTHON" ]] || PYTHON="$(command -v python3)"
export PYTHONPATH="$PENSTOCK_ROOT${PYTHONPATH:+:$PYTHONPATH}"

GRACE_S="${PENSTOCK_GRACE_S:-60}" # a rank that was told to stop gets this long to write its checkpoint
MISTAKE_GRACE_S=5

rank_settings() { # rank_settings RANKS_ON_THIS_NODE
  local cores
  cores="$(nproc)"
  # Ranks share the cores. More threads than cores make every operator wait; the number also decides how sums are
  # grouped, and so the last bits of the loss: every checkpoint records it, and a resume with another one says so.
  export OMP_NUM_THREADS="${OMP_NUM_THREADS:-$((cores / $1 > 0 ? cores / $1 : 1))}"
  # Waiting threads sleep instead of spinning: with as many ranks as cores, spinning takes the core from a peer.
  export OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"
  # Lines must reach the log of a rank that is killed.
  export PYTHONUNBUFFERED=1
  # One hardware queue per GPU, so that a collective launched before a kernel also runs before it; megatron-core's
  # overlap of tensor-parallel communication counts on it.
  export CUDA_DEVICE_MAX_CONNECTIONS="${CUDA_DEVICE_MAX_CONNECTIONS:-1}"
  # A failed or timed-out NCCL collective ends the rank with an error instead of hanging its peers for ever.
  export TORCH_NCCL_ASYNC_ERROR_HANDLING="${TORCH_NCCL_ASYNC_ERROR_HANDLING:-1}"
  # Fewer, larger blocks in PyTorch's CUDA allocator: less memory lost to fragments as shapes come and go.
  export PYTORCH_CUDA_ALLOC_CONF="${PYTORCH_CUDA_ALLOC_CONF:-expandable_segments:True}"
  # C++ warnings of torch are for its developers; errors stay.
  export TORCH_CPP_LOG_LEVEL="${TORCH_CPP_LOG_LEVEL:-ERROR}"
}

loopback_settings() {
  # All ranks are on this machine: gloo takes the loopback interface. Without this it resolves the host's name, which on
  # laptops and in containers may lead nowhere. Never set on a cluster.
  export GLOO_SOCKET_IFNAME="${GLOO_SOCKET_IFNAME:-lo}"
}

# run_ranks N COMMAND...: start N ranks of COMMAND on this machine and wait for them all; returns the run's exit code.
#
# Not torchrun: it turns every exit code into 1, and the code is how a scheduler learns whether to requeue (75, 76) or
# not (2). A rank is a process with five variables; torchrun and Slurm set the same ones, and can start it as well.
# SIGTERM, SIGINT, SIGHUP and SIGUSR1 tell the ranks to stop: they write a checkpoint and exit 75. All four are handed on
# as SIGTERM, since bash starts background jobs with SIGINT ignored. A rank that is told so before its first step dies of
# it, and its peers notice: of a run that was told to stop, both count as 75, for no node is to blame.
# When one rank fails, the others notice within milliseconds (their connection closes); who has not ended after GRACE_S
# is killed. After a mistake there is no checkpoint to wait for, and a rank that has seen it before joining the others
# leaves them waiting for it: after MISTAKE_GRACE_S, time to say what they know, they are told to stop.
run_ranks() {
  local num_ranks="$1" rank pid code worst=0 killer="" speaker=0
  shift
  export WORLD_SIZE="$num_ranks" MASTER_ADDR=127.0.0.1 MASTER_PORT
  MASTER_PORT="$("$PYTHON" -c 'from pipeline.core.ports import free_port; print(free_port())')"
  PIDS=()
  STOPPED=""
  trap stop TERM INT HUP USR1
  for ((rank = 0; rank < num_ranks; rank++)); do
    RANK="$rank" LOCAL_RANK="$rank" "$@" &
    PIDS+=("$!")
  done
  [[ -z "$STOPPED" ]] || stop # the signal came while they were being started
  local running=("${PIDS[@]}")
  while ((${#running[@]})); do
    code=0
    { wait -n -p pid "${running[@]}" || code=$?; } 2>/dev/null # without bash's own "line 70: 1234 Killed ..."
    if [[ -z "${pid:-}" ]]; then # a trapped signal ended the wait; ranks that died just then are no longer waited for
      for rank in "${running[@]}"; do kill -0 "$rank" 2>/dev/null || pid="$rank"; done
      [[ -n "${pid:-}" ]] || continue
      code=0
      { wait "$pid" || code=$?; } 2>/dev/null
    fi
    local left=()
    for rank in "${running[@]}"; do [[ "$rank" == "$pid" ]] || left+=("$rank"); done
    running=("${left[@]+"${left[@]}"}")
    [[ "$pid" != "${PIDS[0]}" ]] || speaker="$code"
    [[ -z "$STOPPED" ]] || ((code != 76 && code <= 128)) || code=75
    worst="$(worse "$worst" "$code")"
    if ((code != 0 && ${#running[@]})) && [[ -z "$killer" ]]; then
      (trap - TERM INT HUP USR1
       { ((code != 2)) || { sleep "$MISTAKE_GRACE_S" && kill -TERM "${running[@]}"; }; } &&
         sleep "$GRACE_S" && kill -KILL "${running[@]}") 2>/dev/null &
      killer="$!"
    fi
  done
  if [[ -n "$killer" ]]; then
    pkill -P "$killer" 2>/dev/null || true # its sleep
    kill "$killer" 2>/dev/null || true
  fi
  trap - TERM INT HUP USR1
  if ((speaker > 128)); then # rank 0 speaks for the run, and is dead
    case "$worst" in
      75) echo "penstock: stopped as told, before the next checkpoint; the same command goes on" >&2 ;;
      76) echo "penstock: rank 0 was killed ($(kill -l $((speaker - 128)))); the same command goes on from the newest" \
        "checkpoint" >&2 ;;
    esac
  fi
  return "$worst"
}

stop() { # tell the ranks that still run
  STOPPED=1
  kill -TERM "${PIDS[@]}" 2>/dev/null || true
}

# Of two exit codes, the one that says more: a mistake of the user (2), our bug (1 and any other), a lost rank (76, also
# any death by signal: out of memory, a bad node), a stop on purpose (75), success.
worse() {
  local code rank best=-1 chosen=0
  for code in "$@"; do
    ((code > 128)) && code=76
    case "$code" in
      0) rank=0 ;;
      75) rank=1 ;;
      76) rank=2 ;;
      2) rank=4 ;;
      *) rank=3 ;;
    esac
    if ((rank > best)); then
      best="$rank"
      chosen="$code"
    fi
  done
  echo "$chosen"
}
