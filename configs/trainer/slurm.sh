#!/usr/bin/env bash
#SBATCH --job-name=vit
#SBATCH --nodes=1
#SBATCH --gpus-per-node=4
#SBATCH --ntasks-per-node=4
#SBATCH --cpus-per-task=8
#SBATCH --time=04:00:00
#SBATCH --signal=USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append

# sbatch configs/trainer/slurm.sh --config configs/pretrain/dino.yaml [options of fit]
#
# One task a GPU: ntasks-per-node and gpus-per-node are equal; several nodes also want
# --trainer.num_nodes. Two minutes before the time is up SLURM sends SIGUSR1 to the tasks: they
# finish their step, save, and leave with 128 + SIGUSR1. The job is then queued again and goes on in
# the same run folder, bit for bit. A preempted job (SIGTERM) saves too; SLURM itself requeues it.
set -uo pipefail

runs=logs/slurm/$SLURM_JOB_ID
run=$(find "$runs" -mindepth 1 -maxdepth 1 -type d 2>/dev/null | head -n 1)
if [ -n "$run" ]; then
    srun python train.py fit --resume "$run"
else
    srun python train.py fit "$@" \
        --trainer configs/trainer/slurm.yaml --logs logs/slurm --name "$SLURM_JOB_ID"
fi
status=$?
if [ "$status" -eq $((128 + $(kill -l USR1))) ]; then
    scontrol requeue "$SLURM_JOB_ID"
fi
exit "$status"
