"""What is said of a study before it begins: the answer first, on one screen."""

import warnings
from collections.abc import Iterator

import pytest

from launch import ROOT, forget_other_class_arguments
from vit.cli.compare import read_study
from vit.cli.dry_run import dry_run
from vit.compare.command import Command
from vit.compare.forecast import Forecast, some
from vit.compare.job import Job, unique
from vit.compare.plan import Planner
from vit.compare.preflight import check_arms
from vit.compare.store import Store
from vit.compare.timing import Timer

QUICK = """\
Which pre-training pays for cluttered digits with 10 labels a class?

arms       scratch; scratch-long; supervised; masked patches
tasks      digits (448 test images, 5 classes); the verdict is drawn from digits, finetune
labels     50 to learn from, 45 to choose on; 5 seeds with 2 label draws each; supervised learns
           from 730 others first
controls   random encoder, raw pixels, kmeans

             runs  done  time
pretrain       10     0  5 min
transfer       40     0  14 min
test           40     0  1 min
probe          20     0  53 s
control        10     0  26 s
120 runs, 0 done; the rest: about 22 min, 2 at a time on this machine's CPU
times      guessed from floating-point operations; nothing was timed
disk       0.2 GB more

sees       it could detect a difference of 7.4 points between two of 4 arms, with 80 % power;
           guessed from the seeds' spread of earlier studies, for 10 labels a class of 5 classes:
           accuracy about 45 %, seeds 1.8 points apart
with twice test images: 5.9 points (no run more); seeds: 6.3 points (22 min more); label draws: 6.8
           points (17 min more)
--list shows every run and its command"""


class Untimed(Timer):
    """No step is timed: all times are guessed from FLOPs, and so the same on every machine."""

    def measure(self, todo):
        self.asked = len(todo)


def forecast_of(*argv: str, store: Store) -> Forecast:
    study, arms, _ = read_study(["--config", "configs/compare/quick.yaml", *argv])
    planner = Planner(study, arms, dry_run, lambda name: {})
    timer = Untimed(lambda folder, argv: 1, at_a_time=2, gpus=0)
    return Forecast(planner, check_arms(planner), store, timer, [0])


@pytest.fixture(scope="module")
def quick(tmp_path_factory) -> Iterator[Forecast]:
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # LightningCLI uses jsonargparse so
        patch.chdir(ROOT)
        forget_other_class_arguments(patch)
        yield forecast_of(store=Store(tmp_path_factory.mktemp("runs")))


def test_the_quick_study_is_told_on_one_screen(quick):
    lines = quick.summary()
    assert "\n".join(lines) == QUICK
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_the_list_has_every_run_and_its_command(quick):
    lines = quick.runs()
    assert len(lines) == 2 * 120
    assert lines[0] == "new     supervised pretrain seed 0  (about 1 min)"
    assert lines[1].startswith("        python train.py fit --config configs/pretrain/superv")


def test_the_beginning_is_one_line(quick):
    assert quick.beginning == (
        "120 runs, 0 done; the rest: about 22 min, 2 at a time on this machine's CPU; guessed "
        "from floating-point operations; nothing was timed"
    )


def test_many_names_are_counted():
    assert some([str(number) for number in range(9)], ", ") == "0, 1, 2, 3, 4, 5, 6, 7, 8"
    assert some([str(number) for number in range(19)], ", ").endswith("6, 7, and 11 more")


def test_the_features_of_an_encoder_take_their_time_once():
    """Two folds of the same weights, others, and an untrained one that each seed draws anew."""
    evaluation = Command("evaluate")

    def job(name: str, stage: str, upstream: str, seed: int = 0) -> Job:
        return Job(
            name, evaluation, stage, name, seed, data="mine", about={"upstream": upstream},
            seconds=65.0, feature_seconds=60.0,
        )  # fmt: skip

    jobs = [
        job("fold0", "probe", "a"), job("fold1", "probe", "a", seed=1), job("other", "probe", "b"),
        job("seed0", "control", "c"), job("again", "control", "c"),
        job("seed1", "control", "c", seed=1),
    ]  # fmt: skip
    assert [one.seconds for one in unique(jobs)] == [65, 5, 65, 65, 5, 65]
