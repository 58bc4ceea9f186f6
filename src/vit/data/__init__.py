"""Data sets behind one interface: splits, exact loaders, views cut on the device."""

from vit.data.cifar import CIFAR10, CIFAR100
from vit.data.digits import Digits
from vit.data.image_folder import ImageFolder
from vit.data.imagenet import ImageNet, ImageNet21k
from vit.data.oxford import Flowers102, OxfordPets
from vit.data.shard_images import ShardImages
from vit.data.vtab import VTAB

__all__ = [
    "CIFAR10",
    "CIFAR100",
    "VTAB",
    "Digits",
    "Flowers102",
    "ImageFolder",
    "ImageNet",
    "ImageNet21k",
    "OxfordPets",
    "ShardImages",
]
