#!/usr/bin/env bash
# A search under Slurm: one chief and a worker a task, on as many machines as it takes.
#
#   sbatch --ntasks 8 --gpus-per-task 1 tuning/slurm.sh cifar10 --tuner hyperband --max-trials 100 --out /shared/search
#
# The folder of --out must lie where all machines see it. Submitted again with the same words, the search goes on. Slurm
# sends SIGTERM before it ends a job: each worker then saves its trial at the step it is at.
#SBATCH --job-name=keras-resnet-tune
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
set -euo pipefail

if [[ $# -lt 1 ]]; then
    echo "usage: sbatch $0 DATASET [options of keras-resnet tune]" >&2
    exit 2
fi
export KERASTUNER_ORACLE_IP=$(hostname --ip-address | awk '{print $1}')
export KERASTUNER_ORACLE_PORT=$((20000 + SLURM_JOB_ID % 20000))

KERASTUNER_TUNER_ID=chief CUDA_VISIBLE_DEVICES= keras-resnet tune "$@" &
chief=$!
trap 'kill "$chief" 2> /dev/null || true' EXIT
# A chief ends when a worker has been told that there is nothing left to try. Where some have failed, it may have ended so;
# where all have, nobody will be told, and it gets a minute to have been.
if ! srun --kill-on-bad-exit=0 bash -c 'KERASTUNER_TUNER_ID=worker$SLURM_PROCID exec keras-resnet tune "$@"' worker "$@"; then
    for ((second = 0; second < 60; second++)); do
        kill -0 "$chief" 2> /dev/null || break
        sleep 1
    done
    if kill -0 "$chief" 2> /dev/null; then
        echo "$0: every worker has ended with an error, and so does the search" >&2
        exit 1
    fi
fi
wait "$chief"
