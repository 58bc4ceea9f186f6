"""Data sets behind one interface: splits, exact loaders, views cut on the device.

`from vit.data import CIFAR10` loads what it names alone: all of them take seconds, and whoever
shows a picture to a trained model needs none.
"""

from importlib import import_module

HOMES = {  # the file of each data set
    "CIFAR10": "cifar",
    "CIFAR100": "cifar",
    "VTAB": "vtab",
    "Digits": "digits",
    "Flowers102": "oxford",
    "ImageFolder": "image_folder",
    "ImageNet": "imagenet",
    "ImageNet21k": "imagenet",
    "OxfordPets": "oxford",
    "ShardImages": "shard_images",
}


def __getattr__(name: str) -> type:
    """A data set by its name, loaded when it is first asked for."""
    if name not in HOMES:
        raise AttributeError(f"module 'vit.data' has no attribute {name!r}")
    return getattr(import_module(f"vit.data.{HOMES[name]}"), name)


def import_data_sets() -> None:
    """Load every data set: short names in YAML are those of classes that are loaded."""
    for home in HOMES.values():
        import_module(f"vit.data.{home}")
