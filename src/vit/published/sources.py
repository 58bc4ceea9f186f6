"""Which published data set each task is made of."""

from collections.abc import Callable
from pathlib import Path

from vit.published.arrays import Cifar, DSprites, PatchCamelyon, SmallNorb, Svhn
from vit.published.dmlab import DmLab
from vit.published.folders import Caltech101, Dtd, EuroSat, Flowers, Pets, Resisc45, Sun397
from vit.published.raw import Raw
from vit.published.retinopathy import Retinopathy
from vit.published.scenes import Clevr, Kitti

SOURCES: dict[str, Callable[[Path], Raw]] = {
    "caltech101": Caltech101,
    "cifar": Cifar,
    "dtd": Dtd,
    "oxford_flowers102": Flowers,
    "oxford_iiit_pet": Pets,
    "svhn": Svhn,
    "sun397": Sun397,
    "patch_camelyon": PatchCamelyon,
    "eurosat": EuroSat,
    "resisc45": Resisc45,
    "diabetic_retinopathy": Retinopathy,
    "clevr_count": lambda root: Clevr(root, "count"),
    "clevr_dist": lambda root: Clevr(root, "distance"),
    "dmlab": DmLab,
    "kitti": Kitti,
    "dsprites_loc": lambda root: DSprites(root, "x"),
    "dsprites_ori": lambda root: DSprites(root, "orientation"),
    "smallnorb_azi": lambda root: SmallNorb(root, "azimuth"),
    "smallnorb_ele": lambda root: SmallNorb(root, "elevation"),
}
