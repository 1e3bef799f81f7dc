#!/usr/bin/env bash
# Pretrain on this machine: check the config, then start its ranks.
#
#   launch/pretrain.sh configs/pretrain/tiny.yaml --out build/run --set data.path=build/data --set parallel.tp=2
#
# The same command again goes on from the newest checkpoint, whatever happened and whatever the layout now is.
# Exit codes: 0 done; 2 your mistake; 75 stopped on purpose, a checkpoint is written; 76 a rank was lost; 1 our bug.
set -euo pipefail
# shellcheck source=launch/common.sh
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

usage() { # usage [MISTAKE]
  if (($#)); then echo "pretrain.sh: $1" >&2; fi
  sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}

[[ "${1:--}" != -* ]] || usage
config="$1"
shift
out="build/$(basename "${config%.*}")"
settings=()
while (($#)); do
  case "$1" in
    --out) [[ -n "${2:-}" ]] || usage "--out needs a folder"
      out="$2" ;;
    --set) [[ -n "${2:-}" ]] || usage "--set needs key=value"
      settings+=(--set "$2") ;;
    *) usage "unknown argument '$1'" ;;
  esac
  shift 2
done

# Mistakes end here, on the login node, with one message instead of one per rank.
plan="$("$PYTHON" -m pipeline plan --config "$config" ${settings[@]+"${settings[@]}"} --json)"
field() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1" <<<"$plan"; }
num_ranks="$(field world_size)"
if (($(field nodes) > 1)); then
  echo "pretrain.sh: this config wants $(field nodes) nodes; on one machine set cluster.nodes=1" >&2
  exit 2
fi
if [[ "$(field epochs)" == None ]]; then # a plan can do without the data, a run cannot
  echo "pretrain.sh: data.path is not a finished 'penstock prepare' folder" >&2
  exit 2
fi
if [[ -e "$out" && ! -d "$out" ]]; then
  echo "pretrain.sh: --out $out is a file; name a folder" >&2
  exit 2
fi

rank_settings "$num_ranks"
loopback_settings
run_ranks "$num_ranks" "$PYTHON" -m pipeline pretrain --config "$config" --out "$out" ${settings[@]+"${settings[@]}"}
