"""A trained model in Python: `vit.load(run_or_checkpoint)`, for scripts and notebooks.

B batch, C channels, H W pixels, L classes.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from jsonargparse import ArgumentParser
from PIL import Image
from torch import Tensor, nn

from vit import lightning_workarounds as workarounds
from vit.batch import DataSpec
from vit.cli.recorded import importable, settings_of, trusted_modules
from vit.data.preprocessing import Preprocessing
from vit.models.base import Encoder, Features
from vit.models.prefixes import tensors_below
from vit.models.weights import load_into, open_checkpoint, stored_encoder
from vit.objectives.base import Objective

Pictures = Float[Tensor, "B C H W"] | Sequence[Image.Image | str | Path]


class Model(nn.Module):
    """An encoder, its classes where it was trained to tell some, and how pictures are shown to it.

    Args:
        encoder: with its trained weights.
        objective: what predicts; None where the training had no classes.
        preprocess: from a picture to normalised pixels.
        path: the checkpoint, for messages.
    """

    def __init__(
        self,
        encoder: Encoder,
        objective: Objective | None,
        preprocess: Preprocessing,
        path: Path,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.objective = objective
        self.preprocess = preprocess
        self.path = path
        self.classes = preprocess.spec.classes
        self.requires_grad_(False).eval()

    def features(self, images: Pictures) -> Features:
        """What the encoder makes of images: `pooled` (B D), `tokens` (B N D) and their kin.

        Args:
            images: what `preprocess` returns, stacked to B C H W; or pictures or paths.
        """
        return self.encoder(self._batch(images))

    def predict(self, images: Pictures) -> Float[Tensor, "B L"]:
        """Probabilities of `classes`; of data with several labels an image, of each on its own.

        Args:
            images: as for `features`.

        Raises:
            ValueError: the model was trained without classes.
        """
        if self.objective is None:
            raise ValueError(
                f"{self.path}: this training predicts no classes; fine-tune it first "
                "(fit --config configs/finetune/default.yaml --model.pretrained ...), or use "
                "features()"
            )
        logits = self.objective.predict(self._batch(images))["logits"].float()
        return logits.sigmoid() if self.preprocess.spec.multi_label else logits.softmax(-1)

    def _batch(self, images: Pictures) -> Tensor:
        if not isinstance(images, Tensor):
            images = torch.stack([self.preprocess(picture) for picture in images])
        return images.to(next(self.encoder.parameters()).device)


def load(path: str | Path, trust: str | None = None) -> Model:
    """The model of a run folder or a checkpoint, on the CPU, ready to be used.

    Of a run that kept an average of its weights (model.ema) the average is taken, as in `test`.

    Args:
        path: of either; of a folder the best checkpoint where there is one, else the last.
        trust: modules outside this project whose classes the file may name, "a,b"; see SECURITY.md.

    Raises:
        ValueError: the file is damaged, foreign, or names what is not listed.
        FileNotFoundError: there is no such file or run.
    """
    stored = stored_encoder(path)
    content = open_checkpoint(stored.path)
    settings = settings_of(content["config"], stored.path, trusted_modules(trust))
    encoder = stored.build(stored.spec)
    load_into(encoder, stored, stored.spec.channels)
    objective = objective_of(settings, encoder, stored.spec, trusted_modules(trust))
    if objective is not None:
        objective.load_state_dict(tensors_below(content["state_dict"], stored.objective))
    preprocess = Preprocessing(stored.spec, **content.get("preprocessing", {}))
    return Model(encoder, objective, preprocess, stored.path)


def objective_of(
    settings: dict[str, Any], encoder: Encoder, spec: DataSpec, trusted: tuple[str, ...]
) -> Objective | None:
    """The objective that stored settings name, where it predicts classes; else None."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Callable[[Encoder, DataSpec], Objective])
    with workarounds.importing(importable(trusted)):
        parsed = parser.parse_object({"objective": settings["model"]["objective"]})
        build = parser.instantiate(parsed).objective
    objective = build(encoder, spec)
    return objective if hasattr(objective, "predict") else None
