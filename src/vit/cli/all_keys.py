"""The keys of augmentation for --help-all: the parser shows those of classes that are chosen."""

from jsonargparse import ArgumentParser

from vit.data.erasing import Erasing
from vit.data.randaugment import RandAugment
from vit.data.transforms import Augmentation

GROUPS = {
    "data.augmentation": Augmentation,
    "data.augmentation.randaugment": RandAugment,
    "data.augmentation.erasing": Erasing,
}
MORE = """\
Keys of a data set, an encoder or an objective: --data.help ImageFolder, --model.encoder.help ViT,
--model.objective.help Supervised. configs/README.md explains those that people change.
"""


def augmentation_help() -> str:
    """The keys, their kinds, defaults and meanings, and how to see all others."""
    parts = []
    for key, group in GROUPS.items():
        parser = ArgumentParser(add_help=False, usage="")
        parser.add_class_arguments(group, key)
        text = parser.format_help().partition(":\n")[2]  # without the usage
        parts.append(f"--{key}:\n{text.strip(chr(10))}\n")
    return "\n".join([*parts, MORE])
