"""The same runs as SLURM job arrays, so that an existing scheduler does the work.

Runs that need nothing stand in the first array, those that need them in the next, and so on; each
array waits until the one before it has ended, well or not. What was done before is left out, and
what was begun goes on.
"""

import shlex
from pathlib import Path

from vit.compare.job import UPSTREAM, Step
from vit.compare.pool import typed
from vit.compare.store import Store

JOB = """\
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


def write_jobs(steps: list[Step], store: Store, folder: Path) -> list[str]:
    """Write the arrays and a script that queues them; what to type."""
    waves: dict[int, list[Step]] = {}
    depth: dict[str, int] = {}
    for step in steps:
        if store.status(step) == "done":
            continue
        store.note(step)
        depth[step.id] = 1 + max((depth.get(id_, -1) for id_ in step.needs), default=-1)
        waves.setdefault(depth[step.id], []).append(step)
    target = folder / "slurm"
    target.mkdir(parents=True, exist_ok=True)
    for old in target.glob("wave*"):
        old.unlink()
    queue = ["#!/bin/bash", "set -euo pipefail"]
    for number, wave in sorted(waves.items()):
        lines, job = target / f"wave{number}.txt", target / f"wave{number}.sh"
        lines.write_text("".join(line_of(step, store) + "\n" for step in wave))
        job.write_text(JOB.format(
            name=f"{folder.name}-{number}", count=len(wave), here=shlex.quote(str(Path.cwd())),
            file=shlex.quote(str(lines)),
        ))  # fmt: skip
        wait = '--dependency=afterany:"$job" ' if number else ""
        queue.append(f"job=$(sbatch --parsable {wait}{shlex.quote(str(job))})")
    script = target / "submit.sh"
    script.write_text("\n".join(queue) + "\n")
    how = f"bash {shlex.quote(str(script))}"
    return [
        f"{sum(map(len, waves.values()))} runs in {len(waves)} arrays; queue them: {how}",
        "when they are done: the same compare command without --emit adds what is left and reports",
    ]


def line_of(step: Step, store: Store) -> str:
    """A command whose upstream is looked up when it starts; one that was begun goes on."""
    folder = store.begun(step)
    if folder:
        return f"python train.py fit --resume {shlex.quote(str(folder))}"
    runs = f"{shlex.quote(str(store.root))}/*.{''.join(step.needs)}/*_seed*"
    found = f"$(ls -dt {runs} | head -1)"
    tail = "/checkpoints/last.ckpt" if step.kind == "evaluate" else ""
    words = typed(step, store)
    return " ".join(f'"{found}"{tail}' if word == UPSTREAM else shlex.quote(word) for word in words)
