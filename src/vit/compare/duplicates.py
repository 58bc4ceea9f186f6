"""Images that stand in several splits of one task: what is tested was learned from or chosen on."""

from typing import NamedTuple

from vit.compare.overlap import known, named_only, shared_images, with_all_labels
from vit.data.base import Images
from vit.data.file_images import FileImages

LOOKED_AT = 2_000  # evenly spread over the test files of a task; in memory all are
MOST_COPIED = 0.2  # of the test images; CIFAR-100 has a tenth (Barz and Denzler, arXiv:1902.00423)


class Duplicates(NamedTuple):
    """How many images of a task stand, or look alike, in two of its splits.

    Args:
        in_train: test images that the training split holds too, labelled or not.
        in_val: test images that the validation split holds too.
        val_in_test: validation images that the test split holds too.
        val_in_train: validation images that the training split holds too.
        tested: test images that were looked at.
        validated: validation images.
    """

    in_train: int
    in_val: int
    val_in_test: int
    val_in_train: int
    tested: int
    validated: int

    @property
    def summary(self) -> str:
        """The counts in words."""
        return (
            f"of {self.tested:,} test images {self.in_train} are or look like a training image, "
            f"{self.in_val} a validation image; of {self.validated:,} validation images "
            f"{self.val_in_train} a training image"
        )


def duplicates(task: Images) -> Duplicates:
    """The images that a task's splits share, its training split whole."""
    whole = with_all_labels(task)
    by_name, most = named_only(whole), LOOKED_AT if isinstance(whole, FileImages) else None
    train, val = (known(whole, split, by_name) for split in ("train", "val"))
    test = known(whole, "test", by_name, most)
    pairs = ((train, test), (val, test), (test, val), (train, val))
    counts = [int((same | near).sum()) for same, near in (shared_images(*pair) for pair in pairs)]
    return Duplicates(*counts, len(test.hashes), len(val.hashes))


def too_many(copies: Duplicates, trials: int) -> str:
    """Why a task's splits share too much for its test to mean anything; empty: they do not.

    Args:
        copies: of the task.
        trials: learning rates that are tried for each arm.
    """
    if copies.in_train > MOST_COPIED * copies.tested:
        return f"{copies.in_train} of {copies.tested} test images are training images too"
    if copies.val_in_test > MOST_COPIED * copies.validated:
        chosen = ", and learning rates would be chosen on them" if trials > 1 else ""
        return (
            f"{copies.val_in_test} of {copies.validated} validation images are test images "
            f"too{chosen}"
        )
    return ""
