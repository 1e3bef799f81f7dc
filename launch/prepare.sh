#!/usr/bin/env bash
# Raw corpora to token shards: on this machine, or with Ray on all nodes of a Slurm job.
#
#   launch/prepare.sh configs/data/sample.yaml --out build/data --set input=build/sample
#   sbatch --nodes=4 --exclusive launch/prepare.sh configs/data/sample.yaml --out build/data --set input=build/sample
#
# The same command again goes on from what is committed, on any number of nodes. All of them must see OUT and the input.
# Exit codes: 0 done; 2 your mistake; 75 stopped on purpose; 76 the head or all nodes were lost; 1 our bug.
#SBATCH --no-kill
set -euo pipefail
# Slurm runs a copy of this script: the checkout is where the original lies.
here="$(dirname "${BASH_SOURCE[0]}")"
if [[ -n "${SLURM_JOB_ID:-}" && ! -e "$here/common.sh" ]]; then
  here="$(dirname "$(scontrol show job "$SLURM_JOB_ID" | sed -n 's/^ *Command=\([^ ]*\).*/\1/p')")"
fi
# shellcheck source=launch/common.sh
source "$here/common.sh"

usage() { # usage [MISTAKE]
  if (($#)); then echo "prepare.sh: $1" >&2; fi
  sed -n '2,8s/^# \{0,1\}//p' "$here/prepare.sh" >&2
  exit 2
}

[[ "${1:--}" != -* ]] || usage
prepare=("$PYTHON" -m pipeline prepare --config "$1")
shift
[[ " $* " == *" --out "* || " $* " == *" --out="* ]] || usage "--out is missing"
prepare+=("$@")

[[ -n "${SLURM_JOB_ID:-}" ]] || exec "${prepare[@]}"

# ---- a Ray of this job: the head on this node, and as many CPUs of each node as the job has ------------------------

RAY="$(dirname "$PYTHON")/ray"
# as Slurm reaches this node: its own name may lead it to the loopback
node_address="$(scontrol show node "$SLURMD_NODENAME" | sed -n 's/.*NodeAddr=\([^ ]*\).*/\1/p')"
ip="$(getent ahostsv4 "$node_address" | sed -n '1s/ .*//p')"
address="$ip:$("$PYTHON" -c 'from pipeline.core.ports import free_port; print(free_port())')"
export RAY_AUTH_MODE=token RAY_USAGE_STATS_ENABLED=0
RAY_AUTH_TOKEN="$("$PYTHON" -c 'import secrets; print(secrets.token_hex(32))')" # of this job: no other one may use its Ray
export RAY_AUTH_TOKEN
unset http_proxy https_proxy grpc_proxy HTTP_PROXY HTTPS_PROXY # Ray would ask the proxy for its own nodes
start=(--temp-dir="/tmp/penstock-$SLURM_JOB_ID" --disable-usage-stats --block)
[[ -z "${SLURM_MEM_PER_NODE:-}" ]] || start+=(--memory="$((SLURM_MEM_PER_NODE << 20))")

STOP_S=10
pids=() driver="" stopped=""
stop() { # as Slurm tells: the time is up, or the nodes are wanted
  stopped=1
  [[ -z "$driver" ]] || kill -TERM "$driver" 2>/dev/null || true
}
trap stop TERM INT USR1
end() {
  trap - EXIT
  kill -TERM "${pids[@]}" 2>/dev/null || true
  (sleep "$STOP_S" && kill -KILL "${pids[@]}") 2>/dev/null & # srun waits for a dead node until Slurm has missed it
  local killer="$!"
  wait "${pids[@]}" 2>/dev/null || true
  kill "$killer" 2>/dev/null || true
  rm -rf "/tmp/penstock-$SLURM_JOB_ID"
}
trap end EXIT
head_only=(--node-ip-address="$ip" --port="${address#*:}" --num-cpus="${SLURM_CPUS_ON_NODE:-1}" --include-dashboard=false)
if "$PYTHON" -c 'import grpc' 2>/dev/null; then # ray[default]: a client server, at one port in all jobs of a node
  head_only+=(--ray-client-server-port="$("$PYTHON" -c 'from pipeline.core.ports import free_port; print(free_port())')")
fi
"$RAY" start --head "${head_only[@]}" "${start[@]}" >&2 &
pids+=("$!")
for ((tries = 0; tries < 600; tries++)); do # until the head listens
  if (exec 3<>"/dev/tcp/${address/://}") 2>/dev/null; then break; fi
  sleep 0.1
done
if ((SLURM_NNODES > 1)); then
  srun --overlap --no-kill --nodes="$((SLURM_NNODES - 1))" --ntasks="$((SLURM_NNODES - 1))" --exclude="$SLURMD_NODENAME" \
    --whole --mem=0 \
    bash -c 'trap : TERM; "$@" --num-cpus="$SLURM_CPUS_ON_NODE"; rm -rf "/tmp/penstock-$SLURM_JOB_ID"' - \
    "$RAY" start --address="$address" "${start[@]}" >&2 &
  pids+=("$!")
fi

[[ -z "$stopped" ]] || exit 75
RAY_ADDRESS="$address" "${prepare[@]}" &
driver="$!"
[[ -z "$stopped" ]] || stop # told just now
while kill -0 "$driver" 2>/dev/null; do sleep 0.5; done # a signal ends a `wait`, and may lose the driver's exit code
code=0
wait "$driver" || code=$?
[[ -z "$stopped" ]] || ((code != 128 + 15)) || code=75 # told before it could hear it
exit "$code"
