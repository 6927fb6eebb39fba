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
srun --kill-on-bad-exit=0 bash -c 'KERASTUNER_TUNER_ID=worker$SLURM_PROCID exec keras-resnet tune "$@"' worker "$@" || true
wait "$chief"
