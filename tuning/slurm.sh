#!/usr/bin/env bash
# A search under Slurm: a chief, and a worker for each task, on any number of machines.
#
#   sbatch --ntasks 8 --gpus-per-task 1 tuning/slurm.sh cifar10 --tuner hyperband --max-trials 100 --out /shared/search
#
# All machines must share the folder of --out. A search that is submitted again with the same arguments resumes. Slurm sends
# SIGTERM before it ends a job; each worker then saves a checkpoint of its trial at the current step.
#SBATCH --job-name=keras-resnet-tune
#SBATCH --ntasks=3
#SBATCH --cpus-per-task=4
#SBATCH --time=12:00:00
set -euo pipefail

if [[ $# -lt 1 ]]; then
    echo "usage: sbatch $0 DATASET [options of keras-resnet tune]" >&2
    exit 2
fi
# Workers find the chief by the name of its machine. A machine itself often takes its own name for a local address.
export KERASTUNER_ORACLE_IP=$(hostname)
export KERASTUNER_ORACLE_PORT=$((20000 + SLURM_JOB_ID % 20000))
export SRUN_CPUS_PER_TASK=${SLURM_CPUS_PER_TASK:-1}  # since Slurm 22.05, srun does not take it over from sbatch

KERASTUNER_TUNER_ID=chief KERASTUNER_ORACLE_IP=0.0.0.0 CUDA_VISIBLE_DEVICES= keras-resnet tune "$@" &
chief=$!
trap 'kill "$chief" 2> /dev/null || true' EXIT
# The chief ends when a worker has received the end of the search. If some workers have failed, it may end that way; if all
# have, it never will, and is stopped after a minute.
if ! srun --kill-on-bad-exit=0 bash -c 'KERASTUNER_TUNER_ID=worker$SLURM_PROCID exec keras-resnet tune "$@"' worker "$@"; then
    for ((second = 0; second < 60; second++)); do
        kill -0 "$chief" 2> /dev/null || break
        sleep 1
    done
    if kill -0 "$chief" 2> /dev/null; then
        echo "$0: every worker has ended with an error, so the search ends, too" >&2
        exit 1
    fi
fi
wait "$chief"
