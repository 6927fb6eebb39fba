#!/usr/bin/env bash
# A search by one chief and N workers on this machine:
#
#   tuning/distributed.sh 2 digits --tuner hyperband --max-trials 20 --out searches/digits
#
# They run in the active virtual environment, else in `.venv` of this project; PYTHON selects another interpreter. Workers
# are assigned the GPUs in turn or, without GPUs, equal shares of the CPU cores. On several machines, start the processes
# yourself with the variables below; all must share the folder of --out.
set -euo pipefail

if [[ $# -lt 2 || ! $1 =~ ^[1-9][0-9]*$ ]]; then
    echo "usage: $0 WORKERS DATASET [options of keras-resnet tune]" >&2
    exit 2
fi
workers=$1
shift
python=${PYTHON:-python3}
installed=$(dirname "$0")/../.venv/bin/python  # where `make` installs the package
if [[ -z ${PYTHON-}${VIRTUAL_ENV-} && -x $installed ]]; then python=$installed; fi

export KERASTUNER_ORACLE_IP=${KERASTUNER_ORACLE_IP:-127.0.0.1}
export KERASTUNER_ORACLE_PORT=${KERASTUNER_ORACLE_PORT:-$("$python" -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])')}
read -ra gpus < <("$python" -c 'from keras_resnet.host import gpus; print(*gpus())')
read -ra cores < <("$python" -c 'import os; print(*sorted(os.sched_getaffinity(0)))')
running=()
# Waits until the workers have saved their trials, since a container ends with this script, and only then ends the chief:
# without one, they might wait for it.
end() {
    for worker in "${running[@]:1}"; do kill "$worker" 2> /dev/null || true; done
    for worker in "${running[@]:1}"; do wait "$worker" || true; done
    kill "${running[@]:0:1}" 2> /dev/null || true
}
trap end EXIT
trap 'exit 75' TERM INT

KERASTUNER_TUNER_ID=chief "$python" -m keras_resnet tune "$@" &
running+=($!)
chief=$!
for ((worker = 0; worker < workers; worker++)); do
    share=()
    if ((${#gpus[@]})); then
        export CUDA_VISIBLE_DEVICES=${gpus[worker % ${#gpus[@]}]}
        # Workers that share a GPU must not reserve all of its memory.
        if ((workers > ${#gpus[@]})); then export XLA_PYTHON_CLIENT_PREALLOCATE=false TF_FORCE_GPU_ALLOW_GROWTH=true; fi
    elif ((workers <= ${#cores[@]})) && command -v taskset > /dev/null; then
        share_cores=()
        for ((core = worker; core < ${#cores[@]}; core += workers)); do share_cores+=("${cores[core]}"); done
        share=(taskset --cpu-list "$(IFS=,; echo "${share_cores[*]}")")
    fi
    KERASTUNER_TUNER_ID=worker$worker "${share[@]}" "$python" -m keras_resnet tune "$@" &
    running+=($!)
done
# The chief ends when a worker has received the end of the search; if all workers have failed, none will, and the chief
# must be stopped.
status=0 finished=0
for worker in "${running[@]:1}"; do
    if wait "$worker"; then finished=1; else status=$?; fi
done
if ((! finished)); then
    echo "$0: every worker has ended with an error, so the search ends, too" >&2
    exit "$status"
fi
wait "$chief"
