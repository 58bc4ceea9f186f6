"""A trained model in Python: `vit.load(path)` of a run, a checkpoint, released weights, an export.

For scripts and notebooks, and for the verb `predict --images`. Lightning is not loaded: it takes
longer than an answer.

B batch, C channels, H W pixels, L classes.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vit.batch import DataSpec
from vit.cli.recorded import importable_rooms, objective_in, trusted_modules
from vit.data.preprocessing import Preprocessing
from vit.exported import OnnxModel, check_several, export_about, exported_spec
from vit.models.base import Encoder, Features
from vit.models.classifier import WithHead
from vit.models.prefixes import tensors_below
from vit.models.weights import Stored, load_into, open_checkpoint, stored_encoder
from vit.objectives.base import Objective

Pictures = Float[Tensor, "B C H W"] | Sequence[Image.Image | str | Path | Tensor]


class Model(nn.Module):
    """An encoder, its classes where it was trained to tell some, and how pictures are shown to it.

    Args:
        encoder: with its trained weights.
        predictor: what tells classes, on this encoder; None where nothing was trained to.
        preprocess: from a picture to normalised pixels.
        path: of the weights, for messages.
        notes: what was assumed of released weights, a line each.
    """

    def __init__(
        self,
        encoder: Encoder,
        predictor: WithHead | Objective | None,
        preprocess: Preprocessing,
        path: Path,
        notes: tuple[str, ...] = (),
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.preprocess = preprocess
        self.path = path
        self.notes = notes
        self.classes = preprocess.spec.classes
        self.requires_grad_(False).eval()

    @property
    def tells_classes(self) -> bool:
        """Does `predict` say something?"""
        return self.predictor is not None

    @property
    def several(self) -> bool:
        """May a picture have several labels? Probabilities are then each on its own."""
        return self.preprocess.spec.multi_label

    def features(self, images: Pictures) -> Features:
        """What the encoder makes of images: `pooled` (B D), `tokens` (B N D) and their kin.

        Args:
            images: what `preprocess` returns, stacked to B C H W or in a list; or pictures or
                paths.
        """
        return self.encoder(self._batch(images))

    def predict(self, images: Pictures) -> Float[Tensor, "B L"]:
        """Probabilities of `classes`; of data with several labels an image, of each on its own.

        Args:
            images: as for `features`.

        Raises:
            ValueError: the model was trained without classes.
        """
        if self.predictor is None:
            raise ValueError(
                f"{self.path}: this training predicts no classes; fine-tune it first "
                "(fit --config configs/finetune/default.yaml --model.pretrained ...), or use "
                "features()"
            )
        logits = self.predictor.predict(self._batch(images))["logits"].float()
        return logits.sigmoid() if self.several else logits.softmax(-1)

    def _batch(self, images: Pictures) -> Tensor:
        if not isinstance(images, Tensor):
            check_several(images)
            shown = (x if isinstance(x, Tensor) else self.preprocess(x) for x in images)
            images = torch.stack(list(shown))
        return images.to(next(self.encoder.parameters()).device)


def load(path: str | Path, trust: str | None = None) -> Model | OnnxModel:
    """The model that a path holds, on the CPU, ready to be used.

    Of a run that kept an average of its weights (model.ema) the average is taken, as in `test`.

    Args:
        path: of a run folder (its best checkpoint where there is one, else the last), a checkpoint,
            released weights (docs/weights.md), or an export.
        trust: modules outside this project whose classes the file may name, "a,b"; see SECURITY.md.

    Raises:
        ValueError: the file is damaged, foreign, or names what is not listed.
        FileNotFoundError: there is no such file or run.
    """
    trusted = trusted_modules(trust)
    about = export_about(Path(path))
    if about.get("format") == "onnx":
        return OnnxModel(Path(path), about)
    if about.get("format") == "torch-export":
        raise ValueError(
            f"{path}: torch.export.load opens it; predict and vit.load open an export to onnx, "
            "safetensors, timm or huggingface"
        )
    stored = stored_encoder(path)
    if about:  # config.json of other libraries says less than we know
        shown = about.get("preprocessing", {})
        stored = replace(stored, spec=exported_spec(about, Path(path)), preprocessing=shown)
    encoder = stored.build(stored.spec)
    load_into(encoder, stored, stored.spec.channels)
    preprocess = Preprocessing(named(stored), **stored.preprocessing)
    predictor = predictor_of(stored, encoder, trusted)
    return Model(encoder, predictor, preprocess, stored.path, stored.notes)


def named(stored: Stored) -> DataSpec:
    """The data of stored weights; classes whose names nobody knows go by their numbers."""
    if stored.spec.classes or not stored.classifier:
        return stored.spec
    numbers = tuple(map(str, range(len(stored.classifier["bias"]))))
    return replace(stored.spec, classes=numbers)


def predictor_of(
    stored: Stored, encoder: Encoder, trusted: tuple[str, ...]
) -> WithHead | Objective | None:
    """What tells classes: the stored linear layer, else the run's objective; None: nothing does."""
    if stored.classifier:
        return WithHead(encoder, stored.classifier["weight"], stored.classifier["bias"])
    if not stored.objective:  # released weights have none
        return None
    content = open_checkpoint(stored.path)
    objective = objective_of(content["config"], stored, encoder, trusted)
    if not hasattr(objective, "predict"):
        return None
    objective.load_state_dict(tensors_below(content["state_dict"], stored.objective))
    return objective


def objective_of(
    config: str, stored: Stored, encoder: Encoder, trusted: tuple[str, ...]
) -> Objective:
    """The objective that a stored config names, not trained yet."""
    from jsonargparse import ArgumentParser  # slow to load, and most classifiers do without

    from vit.parser_workarounds import importing

    settings = objective_in(config, stored.path, trusted)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--objective", type=Callable[[Encoder, DataSpec], Objective])
    with importing(importable_rooms(trusted)):
        parsed = parser.parse_object({"objective": settings})
        build = parser.instantiate(parsed).objective
    return build(encoder, stored.spec)
