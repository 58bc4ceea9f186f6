"""Features that were made once, kept picture by picture under a key of all that they depend on.

Folds, seeds and label draws divide the same pictures anew; each picture goes through an encoder
once, whichever split it is in. Every file holds the pictures that were made together.

M images of a split.
"""

from pathlib import Path

import torch
from torch import Tensor

from vit.digest import digest
from vit.evaluate.base import FrozenFeatures
from vit.models.torch_files import check_finite, read_torch, save_torch, tensors


class FeatureCache:
    """A folder of files, some for each key.

    Args:
        folder: of the files; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str, pictures: list[str], labels: Tensor) -> FrozenFeatures | None:
        """The features of a split, if all are there; a damaged file is named, and made anew.

        Args:
            key: of everything but the pictures.
            pictures: M, what each is known by.
            labels: M, which are not kept.
        """
        if self.folder is None:
            return None
        parts = [self._read(path, key) for path in sorted(self.folder.glob(f"{key}-*.pt"))]
        parts = [part for part in parts if part]
        places = {name: i for i, name in enumerate(name for p in parts for name in p["pictures"])}
        unread = {name for part in parts for name in part["unread"]}
        if not parts or any(name not in places and name not in unread for name in pictures):
            return None
        rows = torch.tensor([places[name] for name in pictures if name in places])
        read = torch.tensor([name in places for name in pictures])
        pooled = {
            name: torch.cat([part["pooled"][name] for part in parts])[rows]
            for name in parts[0]["pooled"]
        }
        patches = [part["tokens"] for part in parts]
        whole = None if patches[0] is None else torch.cat(patches)[rows]
        return FrozenFeatures(pooled, labels.cpu()[read], whole)

    def keep(self, key: str, pictures: list[str], features: FrozenFeatures, index: Tensor) -> None:
        """Write features, whole or not at all.

        Args:
            key: of everything but the pictures.
            pictures: M, what each is known by.
            features: of those that could be read.
            index: which of the M these are.
        """
        if self.folder is None:
            return
        read = index.tolist()
        content = {
            "key": key,
            "pictures": [pictures[i] for i in read],
            "unread": sorted(set(pictures) - {pictures[i] for i in read}),
            "pooled": features.pooled,
            "tokens": features.tokens,
        }
        save_torch(content, self.folder / f"{key}-{digest(pictures)}.pt")

    def _read(self, path: Path, key: str) -> dict | None:
        try:
            content = read_torch(path, "features")
            if content["key"] != key:
                raise ValueError(f"features: {path} is another file under this name")
            held = [*content["pooled"].values()]
            held += [] if content["tokens"] is None else [content["tokens"]]
            if not held or any(len(rows) != len(content["pictures"]) for rows in held):
                raise ValueError(f"features: {path} is damaged or foreign (rows are missing)")
            check_finite(dict(tensors([*held, content["unread"]])), path)
            return content
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            print(f"{error}; made anew", flush=True)
            return None
