#!/bin/bash
# A sweep over the nodes of a Slurm allocation. From the project's root:
#   sbatch --nodes=3 orchestrator/cluster/deploy/slurm.sh search_spaces/twitter2017.yaml --storage /shared/storage
# GPUs and cores of a node are sbatch's: for four trials of `resources: {cpu: 4, gpu: 1}` at once a node,
#   sbatch --nodes=3 --gpus-per-node=4 --cpus-per-task=16 …
# What would stay idle, the sweep says in the first lines of its log.
# Everything after the script is given to `orchestrator sweep`. The same command again resumes it.
#SBATCH --job-name=shap-ca
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=8
#SBATCH --gpus-per-node=1
#SBATCH --time=24:00:00
#SBATCH --signal=B:TERM@120
set -euo pipefail
[ $# -ge 1 ] || { echo "error: expected the sweep's file: sbatch slurm.sh SPACE …" >&2; exit 2; }

PATH="${SHAPCA_VENV:-$PWD/.venv}/bin:$PATH"
port="${RAY_PORT:-$((20000 + SLURM_JOB_ID % 10000))}"
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head="${nodes[0]}"

# The cluster's token is this job's alone, in a file that only its user reads.
umask 077
token="$(mktemp "${SHAPCA_TOKEN_DIR:-$HOME}/.shap-ca-token.XXXXXX")"
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' > "$token"
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$token" RAY_USAGE_STATS_ENABLED=0

pids=()
sweep=
finish() {
  trap - EXIT TERM INT
  # The driver first: it gives every run its final status.
  if [ -n "$sweep" ] && kill -TERM "$sweep" 2>/dev/null; then wait "$sweep" || true; fi
  for pid in "${pids[@]}"; do kill -TERM "$pid" 2>/dev/null || true; done
  wait || true
  rm -f "$token"
}
trap finish EXIT
trap 'exit 143' TERM INT

on_node() {  # NODE COMMAND… &: one task there, in place of the background shell
  local node="$1"
  shift
  exec srun --nodes=1 --ntasks=1 --nodelist="$node" --kill-on-bad-exit=1 "$@"
}

resources=(--num-cpus="${SLURM_CPUS_PER_TASK:-1}" --num-gpus="${SLURM_GPUS_ON_NODE:-0}")
on_node "$head" ray start --head --block --port="$port" --dashboard-host=127.0.0.1 \
  "${resources[@]}" &
pids+=($!)
for node in "${nodes[@]:1}"; do
  # A node that comes before its head tries again until the head is there.
  on_node "$node" bash -c 'for _ in $(seq 60); do
      ray start --block --address="$0" "$@" && exit 0
      sleep 2
    done
    exit 1' "$head:$port" "${resources[@]}" &
  pids+=($!)
done

python -m orchestrator.cluster.deploy.wait "$head:$port" "${#nodes[@]}"
orchestrator sweep "$@" --address "$head:$port" &
sweep=$!
status=0
wait "$sweep" || status=$?
sweep=
exit "$status"
