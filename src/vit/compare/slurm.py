"""The same runs as SLURM job arrays, so that an existing scheduler does the work.

Runs that need nothing stand in the first array, those that need them in the next, and so on; each
array waits until the one before it has ended, well or not. What was done before is left out, and
what was begun goes on.
"""

import shlex
from pathlib import Path

from vit.compare.job import Job
from vit.compare.pool import placed, resuming
from vit.compare.store import Store

SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=1-{count}
#SBATCH --output=%x_%A_%a.out
# One line of {file} a task. Add what your cluster needs: --partition, --time, --gpus, --account.
set -euo pipefail
cd {here}
line=$(sed -n "${{SLURM_ARRAY_TASK_ID}}p" {file})
bash -c "$line"
"""


def write_jobs(jobs: list[Job], store: Store, folder: Path) -> list[str]:
    """Write the arrays and a script that queues them; return what to type."""
    waves: dict[int, list[Job]] = {}
    depth: dict[str, int] = {}
    for job in jobs:
        if store.status(job) == "done":
            continue
        store.write_identity(job)
        depth[job.id] = 1 + max((depth.get(id_, -1) for id_ in job.needs), default=-1)
        waves.setdefault(depth[job.id], []).append(job)
    target = folder / "slurm"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("wave*"):
        old.unlink()
    queue = ["#!/bin/bash", "set -euo pipefail"]
    for number, wave in sorted(waves.items()):
        script = write_wave(number, [shell_line(job, store) for job in wave], target)
        wait = '--dependency=afterany:"$job" ' if number else ""
        queue.append(f"job=$(sbatch --parsable {wait}{shlex.quote(str(script))})")
    submit = target / "submit.sh"
    submit.write_text("\n".join(queue) + "\n")
    return [
        f"{sum(map(len, waves.values()))} runs in {len(waves)} arrays; queue them: "
        f"bash {shlex.quote(str(submit))}",
        "when they are done: the same compare command without --emit adds what is left and reports",
    ]


def write_wave(number: int, lines: list[str], target: Path) -> Path:
    """Write one array, a line a run; return its script."""
    file, script = target / f"wave{number}.txt", target / f"wave{number}.sh"
    file.write_text("".join(line + "\n" for line in lines))
    script.write_text(
        SCRIPT.format(
            name=f"{target.parent.name}-{number}",
            count=len(lines),
            here=shlex.quote(str(Path.cwd())),
            file=shlex.quote(str(file)),
        )
    )
    return script


def shell_line(job: Job, store: Store) -> str:
    """A command whose upstream is looked up when it starts; one that was begun goes on."""
    folder = store.begun(job)
    if folder:
        return resuming(folder).shell("")
    runs = f"{shlex.quote(str(store.root))}/*.{''.join(job.needs)}/*_seed*"
    tail = "/checkpoints/last.ckpt" if job.verb == "evaluate" else ""
    return placed(job, store).shell(f'"$(ls -dt {runs} | head -1)"{tail}')
