#!/usr/bin/env bash
# A search by one chief and N workers on this machine:
#
#   tuning/distributed.sh 2 digits --tuner hyperband --max-trials 20 --out searches/digits
#
# Each worker has a GPU, by turns, or its share of the cores. On many machines, start one process each with the variables
# below; all must share the folder of --out.
set -euo pipefail

if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 WORKERS DATASET [options of keras-resnet tune]" >&2
    exit 2
fi
workers=$1
shift
python=${PYTHON:-python3}

export KERASTUNER_ORACLE_IP=${KERASTUNER_ORACLE_IP:-127.0.0.1}
export KERASTUNER_ORACLE_PORT=${KERASTUNER_ORACLE_PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
gpus=$({ command -v nvidia-smi > /dev/null && nvidia-smi --list-gpus | wc -l; } || echo 0)
cores=$(nproc)
running=()
trap 'kill "${running[@]}" 2> /dev/null || true' EXIT
trap 'exit 75' TERM INT

KERASTUNER_TUNER_ID=chief "$python" -m keras_resnet.cli tune "$@" &
running+=($!)
chief=$!
for ((worker = 0; worker < workers; worker++)); do
    share=()
    if ((gpus > 0)); then
        export CUDA_VISIBLE_DEVICES=$((worker % gpus))
    elif ((workers <= cores)) && command -v taskset > /dev/null; then
        share=(taskset --cpu-list "$worker-$((cores - 1)):$workers")
    fi
    KERASTUNER_TUNER_ID=worker$worker "${share[@]}" "$python" -m keras_resnet.cli tune "$@" &
    running+=($!)
done
wait "$chief"
