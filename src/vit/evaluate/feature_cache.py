"""Features that were made once, kept under a key of all that they depend on."""

from pathlib import Path

from vit.evaluate.base import FrozenFeatures
from vit.models.torch_files import check_finite, read_torch, save_torch, tensors


class FeatureCache:
    """A folder with a file per key.

    Args:
        folder: of the files; None: nothing is kept.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> FrozenFeatures | None:
        """What was kept under a key; a damaged file is named, and made anew by whoever asks."""
        path = self._path(key)
        if path is None or not path.is_file():
            return None
        try:
            content = read_torch(path, "features")
            features = FrozenFeatures(content["pooled"], content["labels"], content["tokens"])
            check_finite(dict(tensors(vars(features))), path)
            if content["key"] != key:
                raise ValueError(f"features: {path} is another file under this name")
            return features
        except (ValueError, KeyError, TypeError) as error:
            print(f"{error}; made anew", flush=True)
            return None

    def keep(self, key: str, features: FrozenFeatures) -> None:
        """Write features, whole or not at all."""
        path = self._path(key)
        if path is not None:
            save_torch({"key": key, **vars(features)}, path)

    def _path(self, key: str) -> Path | None:
        return self.folder and self.folder / f"{key}.pt"
