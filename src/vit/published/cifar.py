"""CIFAR's published batches: pickles that are read only where their md5 is the published one."""

import hashlib
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vit.published.npz import read_npz

MOST = 2**28  # bytes that somebody's file may unpack to; 50,000 images have 154 million


@cache
def read_batches(
    folder: Path, files: tuple[tuple[str, str], ...], key: str
) -> tuple[Tensor, Tensor]:
    """Images (N 3 32 32, uint8) and labels of the published batches, once each md5 is right."""
    images, labels = [], []
    for name, md5 in files:
        content = (folder / name).read_bytes() if (folder / name).is_file() else b""
        actual = hashlib.md5(content).hexdigest() if content else "missing"
        if actual != md5:
            raise FileNotFoundError(
                f"CIFAR: {folder / name} is missing or damaged (md5 {actual}, expected {md5}); "
                "remove the folder to download it again, or put the file there"
            )
        batch = pickle.loads(content, encoding="latin1")  # these very bytes are the published ones
        images.append(batch["data"].reshape(-1, 3, 32, 32))
        labels += batch[key]
    return torch.from_numpy(np.concatenate(images)), torch.tensor(labels)


def read_foreign(file: Path, key: str) -> tuple[Tensor, Tensor]:
    """Images and labels from somebody's .npz: data (N 3072 or N 3 32 32, uint8) and labels (N)."""
    arrays = read_npz(file, ("data", key), MOST)
    data, labels = arrays["data"], arrays[key]
    if labels.ndim != 1 or data.dtype != np.uint8 or data.size != 3072 * len(labels):
        raise ValueError(
            f"{file}: data must be uint8 of 3,072 numbers an image and {key} one number each, got "
            f"{data.dtype} {data.shape} and {labels.shape}"
        )
    return torch.from_numpy(data.reshape(-1, 3, 32, 32)), torch.from_numpy(labels).long()
