"""The steps that a budget pays for, by hand."""

from types import SimpleNamespace

import pytest

from vit.compare.dry_run import DryRun
from vit.compare.lengths import budget_steps
from vit.compare.study import Budget

DATA = SimpleNamespace(batch_size=50, spec=SimpleNamespace(counts={"train": 120}))
TASK = DryRun(**dict.fromkeys(DryRun._fields) | {"data": DATA, "flops": 2e6})


@pytest.mark.parametrize(
    ("budget", "factor", "steps"),
    [
        (Budget(images=1000), 1.0, 20),
        (Budget(images=1000), 0.3, 6),
        (Budget(flops=3e9), 1.0, 30),  # 2e6 an image, 50 images a step
        (Budget(flops=3e9), 3.0, 90),
        (Budget(epochs=4.0), 1.0, 8),  # two whole batches of 50 in 120 images
        (Budget(images=1), 1.0, 1),
    ],
)
def test_a_budget_times_its_factor_pays_for_so_many_steps(budget, factor, steps):
    assert budget_steps(budget, TASK, factor) == steps


def test_a_budget_that_no_machine_could_spend_is_refused():
    with pytest.raises(ValueError, match=r"budget: .*steps, at most 1e\+09; lower it"):
        budget_steps(Budget(flops=1e30), TASK, 1.0)
