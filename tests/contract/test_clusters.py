"""The SLURM job script and torchrun, with the scheduler's part played by small scripts."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from launch import ROOT

SMALL = (
    *("--model.encoder.width", "32", "--model.encoder.depth", "2", "--model.encoder.heads", "2"),
    *("--trainer.enable_progress_bar", "false", "--trainer.enable_model_summary", "false"),
)
# what the test machine has instead of GPUs; the first attempt gets SLURM's notice while it trains
SRUN = """#!/usr/bin/env bash
[ "$4" = --resume ] || set -- "$@" --trainer.accelerator cpu --trainer.devices 1 \\
    --trainer.precision 32-true
"$@" &
task=$!
if [ "$4" != --resume ]; then
    until compgen -G "logs/slurm/7/*/metrics.csv" > /dev/null; do sleep 0.05; done
    kill -USR1 $task
fi
wait $task
"""


@pytest.fixture
def cluster(tmp_path):
    """A working directory whose PATH has srun, scontrol and this Python."""
    tools = tmp_path / "tools"
    tools.mkdir()
    scripts = {
        "srun": SRUN,
        "scontrol": '#!/usr/bin/env bash\necho "$@" >> scontrol.txt\n',
        "python": f'#!/usr/bin/env bash\nexec {sys.executable} "$@"\n',
    }
    for name, text in scripts.items():
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    for name in ("configs", "train.py"):
        (tmp_path / name).symlink_to(ROOT / name)
    return tmp_path


def shell(cwd: Path, *words: str, **variables: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{cwd / 'tools'}:{os.environ['PATH']}", **variables}
    environment |= {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True,
                          check=False, timeout=300)  # fmt: skip


@pytest.mark.slow
def test_a_job_whose_time_is_up_is_queued_again_and_goes_on_exactly(cluster):
    job = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0",
           "SLURM_NODEID": "0", "SLURM_JOB_NAME": "vit", "SLURM_NTASKS_PER_NODE": "1"}  # fmt: skip
    script = ("bash", "configs/trainer/slurm.sh")
    words = ("--config", "configs/quickstart.yaml", *SMALL, "--trainer.max_epochs", "5")
    first = shell(cluster, *script, *words, **job)
    assert first.returncode == 138, first.stdout + first.stderr
    assert "interrupted at step" in first.stderr
    assert (cluster / "scontrol.txt").read_text() == "requeue 7\n"
    second = shell(cluster, *script, *words, **job)
    assert second.returncode == 0, second.stdout + second.stderr
    assert "resumed at step" in second.stdout
    assert (cluster / "scontrol.txt").read_text() == "requeue 7\n"
    (run,) = (cluster / "logs/slurm/7").iterdir()
    straight = shell(cluster, "python", "train.py", "fit", *words, "--name", "straight")
    assert straight.returncode == 0, straight.stderr
    (other,) = (cluster / "logs/straight").iterdir()
    assert (run / "metrics.csv").read_bytes() == (other / "metrics.csv").read_bytes()


@pytest.mark.slow
def test_torchrun_starts_the_ranks(cluster):
    done = shell(
        cluster, sys.executable, "-m", "torch.distributed.run", "--standalone",
        "--nproc-per-node", "2", "train.py", "fit", "--config", "configs/quickstart.yaml", *SMALL,
        "--trainer.max_epochs", "2", "--trainer.strategy", "ddp", "--trainer.devices", "2",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "batch: 32 per device x 2 ranks x 1 accumulated = 64 images" in done.stdout
    assert len(list((cluster / "logs/quickstart").iterdir())) == 1
