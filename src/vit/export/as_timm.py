"""timm's Hub layout: config.json and model.safetensors, which `timm.create_model` opens by itself.

`timm.create_model("local-dir:<folder>", pretrained=True)`. Facts: timm 1.0, `models/_hub.py` and
`models/vision_transformer.py`.

D width, M MLP width, N patches, L classes.
"""

import json
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from vit.data.preprocessing import Preprocessing
from vit.export.as_safetensors import FILE, save_tensors, tensors_of
from vit.export.subject import Subject
from vit.whole_files import write_text

EPS = 1e-6  # of the LayerNorm that timm's ViT has


def write_timm(subject: Subject, folder: Path) -> list[str]:
    """Write config.json and model.safetensors; the names of the files.

    Raises:
        ValueError: the encoder has a setting that timm's model of its kind has not.
    """
    net = subject.answers.encoder.class_path.endswith(".ResNet")
    config, tensors = (resnet if net else vision_transformer)(subject)
    spec, count = subject.stored.spec, len(subject.classes)
    config |= {"num_classes": count, "num_features": subject.answers.encoder.width}
    if count:
        config["label_names"] = list(subject.classes)
    config["pretrained_cfg"] |= {
        "custom_load": False,
        "input_size": [spec.channels, *spec.image_size],
        "fixed_input_size": not net,
        "num_classes": count,
        "mean": list(spec.mean),
        "std": list(spec.std),
        "pool_size": None,
        **crop_of(subject.preprocess),
    }
    save_tensors(tensors, folder / FILE, {})
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    return ["config.json", FILE]


def vision_transformer(subject: Subject) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a ViT."""
    encoder, spec = subject.answers.encoder, subject.stored.spec
    of = encoder.settings
    refuse_settings(
        {
            "position: rope": of["position"] == "rope",
            f"norm_eps: {of['norm_eps']:g} (timm's is {EPS:g})": of["norm_eps"] != EPS,
        },
        "timm's ViT",
    )
    gated = of["mlp"] == "swiglu"
    first = 2 * of["mlp_width"] if gated else of["mlp_width"]  # timm's gate and its partner
    ratio = first / of["width"]
    if int(of["width"] * ratio) != first:
        ratio = (first + 0.25) / of["width"]  # timm cuts off what is behind the point
    arguments = {
        "img_size": list(spec.image_size),
        "patch_size": of["patch_size"],
        "in_chans": spec.channels,
        "embed_dim": of["width"],
        "depth": of["depth"],
        "num_heads": of["heads"],
        "mlp_ratio": ratio,
        "qk_norm": of["qk_norm"],
        "init_values": of["layer_scale"],
        "class_token": of["class_token"],
        "reg_tokens": of["registers"],
        "no_embed_class": False,
        "global_pool": "token" if of["pool"] == "cls" else "avg",
        "fc_norm": of["norm"] == "pooled",
    }
    if not gated:
        arguments["act_layer"] = "gelu_tanh" if of["gelu"] == "tanh" else "gelu"
    config = {
        "architecture": "vit_giant_patch14_dinov2" if gated else "vit_base_patch16_224",
        "global_pool": arguments["global_pool"],
        "model_args": arguments,
        "pretrained_cfg": {"first_conv": "patch_embed.proj", "classifier": "head"},
    }
    return config, tensors_of(subject) | {"pos_embed": with_register_rows(encoder)}


def with_register_rows(encoder: torch.nn.Module) -> Tensor:
    """The table of positions, with rows of zeros for registers as timm adds one to each."""
    table, front = encoder.pos_embed, int(encoder.settings["class_token"])
    rows = table.new_zeros(1, encoder.settings["registers"], encoder.width)
    return torch.cat([table[:, :front], rows, table[:, front:]], 1)


def resnet(subject: Subject) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Config and tensors of a torchvision ResNet, whose names timm's has."""
    of = subject.answers.encoder.settings
    refuse_settings({"small_stem: true": of["small_stem"]}, "timm's ResNet")
    tensors = {
        name.removeprefix("net."): tensor
        for name, tensor in subject.answers.encoder.state_dict().items()
    }
    head = {f"fc.{name}": tensor for name, tensor in subject.stored.classifier.items()}
    config = {
        "architecture": of["name"],
        "global_pool": "avg",
        "model_args": {"in_chans": subject.stored.spec.channels},
        "pretrained_cfg": {"first_conv": "conv1", "classifier": "fc"},
    }
    return config, tensors | head


def crop_of(preprocess: Preprocessing) -> dict[str, Any]:
    """How timm's transform shows a picture as this project does."""
    side, ratio = preprocess.spec.image_size[0], preprocess.center_crop_ratio
    mode = "border" if preprocess.letterbox else "squash" if ratio is None else "center"
    # timm rounds the short side down, this project to the nearest: so a little above it
    part = 1.0 if ratio is None or ratio == 1 else side / (round(side / ratio) + 0.25)
    return {"crop_pct": part, "crop_mode": mode, "interpolation": preprocess.interpolation}


def refuse_settings(reasons: dict[str, bool], where: str) -> None:
    """Say what a format cannot hold.

    Args:
        reasons: settings, and whether they stand in the way.
        where: what cannot hold them.

    Raises:
        ValueError: the first that does.
    """
    for setting, bad in reasons.items():
        if bad:
            raise ValueError(
                f"export: {where} has no {setting}; --to safetensors, onnx and torch-export hold it"
            )


class TimmRunner:
    """An export, opened by timm alone with its own transform; from pixels to answers.

    Args:
        folder: of the export.
        subject: what was exported: it says which answers to take.
    """

    def __init__(self, folder: Path, subject: Subject) -> None:
        import timm

        self.model = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        shown = timm.data.resolve_model_data_config(self.model)
        self.transform = timm.data.create_transform(**shown, is_training=False)
        self.classes, self.several = subject.classes, subject.stored.spec.multi_label
        self.grey = subject.stored.spec.channels == 1

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Answers to uint8 pictures, B H W 3."""
        pictures = [Image.fromarray(image.numpy()) for image in images]
        shown = [self.transform(p.convert("L") if self.grey else p) for p in pictures]
        return self.forward(torch.stack(shown))

    def forward(self, images: Tensor) -> list[Tensor]:
        """Answers to normalised pictures, B C h w."""
        with torch.no_grad():
            out = self.model(images)
        if not self.classes:
            return [out]
        return [out.sigmoid() if self.several else out.softmax(-1)]
