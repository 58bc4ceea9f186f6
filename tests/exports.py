"""Small models ready to be exported."""

from pathlib import Path

import torch

from builders import RGB, small_vit
from vit.batch import DataSpec
from vit.data.preprocessing import Preprocessing
from vit.export.subject import AnswerNetwork, Subject
from vit.models.base import Encoder
from vit.models.weights import Stored

FILES = {"rounded": True, "apply_exif_and_alpha": True}  # how a person's pictures are shown


def subject(
    spec: DataSpec = RGB,
    shown: dict | None = None,
    classes: bool = True,
    encoder: Encoder | None = None,
    **settings,
) -> Subject:
    """Random weights, with values as trained ones have them."""
    encoder = encoder or small_vit(spec, **settings)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    head = {}
    if classes:
        count = len(spec.classes)
        head["weight"] = 0.3 * torch.randn(count, encoder.width, generator=generator)
        head["bias"] = 0.3 * torch.randn(count, generator=generator)
    shown = FILES if shown is None else shown
    stored = Stored(
        Path("weights.ckpt"),
        encoder.class_path,
        dict(encoder.settings),
        spec,
        getattr(encoder, "grid", None),
        encoder.state_dict(),
        head,
        preprocessing=shown,
    )
    answers = AnswerNetwork(encoder, head.get("weight"), head.get("bias"), spec.multi_label)
    return Subject(stored, answers, Preprocessing(spec, **shown), None)
