"""The 19 tasks of VTAB-1k: which images, how many classes, what may be done to them.

Zhai et al., arXiv:1910.04867. Slices: google-research/task_adaptation, task_adaptation/data, commit
d7630d3. What a task forbids (mirroring, cropping): BiT, arXiv:1912.11370, supplement F.
"""

from dataclasses import dataclass
from typing import Literal

ORIGIN = "origin.json"  # beside a task's images: where they come from
Group = Literal["natural", "specialized", "structured"]


@dataclass(frozen=True)
class VTABTask:
    """One of the 19 tasks.

    Args:
        group: of the paper.
        classes: how many.
        train: 800 images, a slice of the published split.
        val: 200 images.
        test: everything that is tested.
        tested: how many those are.
        may_flip: may images be mirrored?
        may_crop: may a part of the image stand for it?
        aliases: what other code calls it.
    """

    group: Group
    classes: int
    train: str
    val: str
    test: str
    tested: int
    may_flip: bool = True
    may_crop: bool = True
    aliases: tuple[str, ...] = ()


FIRST, NEXT = "train[:800]", "validation[:200]"
DSPRITES = (FIRST, "train[589824:590024]", "train[663552:]", 73_728)
NORB = (FIRST, "test[:200]", "test[12150:]", 12_150)
CLEVR = (FIRST, "train[63000:63200]", "validation", 15_000)

TASKS: dict[str, VTABTask] = {
    "caltech101": VTABTask("natural", 102, FIRST, "train[2754:2954]", "test", 6_084),
    "cifar": VTABTask(
        "natural", 100, FIRST, "train[45000:45200]", "test", 10_000,
        aliases=("cifar100", "cifar_100", "cifar(num_classes=100)"),
    ),
    "dtd": VTABTask("natural", 47, FIRST, NEXT, "test", 1_880),
    "oxford_flowers102": VTABTask(
        "natural", 102, FIRST, NEXT, "test", 6_149, aliases=("flowers102", "flowers")
    ),
    "oxford_iiit_pet": VTABTask(
        "natural", 37, FIRST, "train[2944:3144]", "test", 3_669, aliases=("pets",)
    ),
    "svhn": VTABTask("natural", 10, FIRST, "train[65931:66131]", "test", 26_032),
    "sun397": VTABTask("natural", 397, FIRST, NEXT, "test", 21_750),
    "patch_camelyon": VTABTask("specialized", 2, FIRST, NEXT, "test", 32_768, aliases=("pcam",)),
    "eurosat": VTABTask("specialized", 10, FIRST, "train[16200:16400]", "train[21600:]", 5_400),
    "resisc45": VTABTask("specialized", 45, FIRST, "train[18900:19100]", "train[25200:]", 6_300),
    "diabetic_retinopathy": VTABTask(
        "specialized", 5, FIRST, NEXT, "test", 42_670,
        aliases=("retinopathy", 'diabetic_retinopathy(config="btgraham-300")'),
    ),
    "clevr_count": VTABTask(
        "structured", 8, *CLEVR, may_crop=False, aliases=('clevr(task="count_all")',)
    ),
    "clevr_dist": VTABTask(
        "structured", 6, *CLEVR, may_crop=False, aliases=('clevr(task="closest_object_distance")',)
    ),
    "dmlab": VTABTask("structured", 6, FIRST, NEXT, "test", 22_735, may_crop=False),
    "kitti": VTABTask(
        "structured", 4, FIRST, NEXT, "test", 711, may_crop=False,
        aliases=('kitti(task="closest_vehicle_distance")',),
    ),
    "dsprites_loc": VTABTask(
        "structured", 16, *DSPRITES, may_flip=False, may_crop=False,
        aliases=('dsprites(predicted_attribute="label_x_position",num_classes=16)',),
    ),
    "dsprites_ori": VTABTask(
        "structured", 16, *DSPRITES, may_flip=False,
        aliases=('dsprites(predicted_attribute="label_orientation",num_classes=16)',),
    ),
    "smallnorb_azi": VTABTask(
        "structured", 18, *NORB, may_flip=False,
        aliases=('smallnorb(predicted_attribute="label_azimuth")',),
    ),
    "smallnorb_ele": VTABTask(
        "structured", 9, *NORB, aliases=('smallnorb(predicted_attribute="label_elevation")',)
    ),
}  # fmt: skip


def task_called(name: str) -> str:
    """The key in TASKS of a task by any of the names in use.

    Raises:
        ValueError: there is none of that name.
    """
    plain = name.removeprefix("vtab-").replace(" ", "").replace("'", '"')
    for key, task in TASKS.items():
        if plain == key or plain in task.aliases:
            return key
    raise ValueError(f"VTAB: no task {name!r}; known: {', '.join(TASKS)}")


def means(scores: dict[str, float]) -> dict[str, float]:
    """The plain mean of all tasks (VTAB's), of each group, and the mean of the groups (others').

    Args:
        scores: accuracy by task; groups without one are left out.
    """
    averages = {"all": sum(scores.values()) / len(scores)}
    for group in ("natural", "specialized", "structured"):
        members = [score for name, score in scores.items() if TASKS[name].group == group]
        if members:
            averages[group] = sum(members) / len(members)
    groups = [value for name, value in averages.items() if name != "all"]
    return averages | {"groups": sum(groups) / len(groups)}
