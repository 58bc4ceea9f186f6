"""Hugging Face's layout: config.json, model.safetensors, preprocessor_config.json.

`AutoModelForImageClassification.from_pretrained(folder)`, or `AutoModel` for an encoder alone.
Names are those that their files hold since transformers 4. A plain ViT becomes a `ViT`; LayerScale,
SwiGLU or a mean over the patches make it a `Dinov2`, registers a `Dinov2WithRegisters`: their heads
read the class token and the mean of the patches, and get zeros for the one that ours does not read.

D width, L classes.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vit.data.preprocessing import Preprocessing
from vit.export.as_safetensors import FILE, save_tensors
from vit.export.as_timm import refuse_settings
from vit.export.subject import Subject
from vit.whole_files import write_text

PILLOW = {"bilinear": 2, "bicubic": 3}  # Pillow's numbers of resampling filters
FRONT = {
    "cls_token": "embeddings.cls_token",
    "reg_token": "embeddings.register_tokens",
    "pos_embed": "embeddings.position_embeddings",
    "patch_embed.proj.weight": "embeddings.patch_embeddings.projection.weight",
    "patch_embed.proj.bias": "embeddings.patch_embeddings.projection.bias",
    "norm.weight": "layernorm.weight",
    "norm.bias": "layernorm.bias",
}
INSIDE = {  # of a block: in a ViT, in a Dinov2
    "norm1": ("layernorm_before", "norm1"),
    "norm2": ("layernorm_after", "norm2"),
    "attn.proj": ("attention.output.dense", "attention.output.dense"),
    "mlp.fc1": ("intermediate.dense", "mlp.fc1"),
    "mlp.fc2": ("output.dense", "mlp.fc2"),
}
GATED = {"mlp.fc1": "mlp.weights_in", "mlp.fc2": "mlp.weights_out"}
CLASSES = {
    "vit": "ViT",
    "dinov2": "Dinov2",
    "dinov2_with_registers": "Dinov2WithRegisters",
}


def write_huggingface(subject: Subject, folder: Path) -> list[str]:
    """Write config.json, model.safetensors and preprocessor_config.json; the names of the files.

    Raises:
        ValueError: the encoder has a setting that none of these models has.
    """
    check_holds(subject)
    kind = kind_of_model(subject)
    config = config_of_model(subject, kind)
    shown = processor(subject.preprocess)
    save_tensors(renamed(subject, kind), folder / FILE, {})
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_text(folder / "preprocessor_config.json", json.dumps(shown, indent=2) + "\n")
    return ["config.json", FILE, "preprocessor_config.json"]


def check_holds(subject: Subject) -> None:
    """Refuse what no such model has.

    Raises:
        ValueError: naming the setting.
    """
    encoder = subject.answers.encoder
    if not encoder.class_path.endswith(".ViT"):
        raise ValueError(
            f"export: Hugging Face holds a ViT, this is a {encoder.class_path}; --to safetensors, "
            "onnx and torch-export hold it"
        )
    of = encoder.settings
    gate = (int(of["width"] * 4 * 2 / 3) + 7) // 8 * 8  # as Dinov2 makes it of mlp_ratio 4
    gated, ratio = of["mlp"] == "swiglu", of["mlp_width"] / of["width"]
    dinov2 = kind_of_model(subject) != "vit"
    refuse_settings(
        {
            "class_token: false": not of["class_token"],
            "position: rope": of["position"] == "rope",
            "qk_norm: true": of["qk_norm"],
            "norm: pooled": of["norm"] == "pooled",
            f"SwiGLU of {of['mlp_width']} (only {gate})": gated and of["mlp_width"] != gate,
            f"mlp_width {of['mlp_width']} beside LayerScale, registers or the mean of patches": (
                dinov2 and not gated and ratio != int(ratio)
            ),
            "letterbox": subject.preprocess.letterbox,
            "grey pictures": subject.stored.spec.channels != 3,
        },
        "Hugging Face's ViT",
    )


def kind_of_model(subject: Subject) -> str:
    """Which of theirs it is: model_type in config.json."""
    of = subject.answers.encoder.settings
    if of["registers"]:
        return "dinov2_with_registers"
    mean = of["pool"] == "mean" and subject.classes
    return "dinov2" if of["layer_scale"] or of["mlp"] == "swiglu" or mean else "vit"


def config_of_model(subject: Subject, kind: str) -> dict[str, Any]:
    """config.json."""
    of, spec = subject.answers.encoder.settings, subject.stored.spec
    side = spec.image_size
    config = {
        "architectures": [
            CLASSES[kind] + ("ForImageClassification" if subject.classes else "Model")
        ],
        "model_type": kind,
        "hidden_size": of["width"],
        "num_hidden_layers": of["depth"],
        "num_attention_heads": of["heads"],
        "hidden_act": "gelu" if of["gelu"] == "exact" else "gelu_pytorch_tanh",
        "layer_norm_eps": of["norm_eps"],
        "image_size": side[0] if side[0] == side[1] else list(side),
        "patch_size": of["patch_size"],
        "num_channels": spec.channels,
        "qkv_bias": True,
    }
    if kind == "vit":
        # the pooler is the identity: what it gives is the class token, our pooled features
        config |= {"intermediate_size": of["mlp_width"], "pooler_act": "linear"}
    else:
        gated = of["mlp"] == "swiglu"
        ratio = 4 if gated else of["mlp_width"] // of["width"]
        config |= {"mlp_ratio": ratio, "use_swiglu_ffn": gated, "use_mask_token": False}
    if kind == "dinov2_with_registers":
        config["num_register_tokens"] = of["registers"]
    if subject.classes:
        config["id2label"] = {str(i): name for i, name in enumerate(subject.classes)}
        config["label2id"] = {name: i for i, name in enumerate(subject.classes)}
        several = "multi_label" if spec.multi_label else "single_label"
        config["problem_type"] = f"{several}_classification"
    return config


def processor(preprocess: Preprocessing) -> dict[str, Any]:
    """preprocessor_config.json."""
    height, width = preprocess.spec.image_size
    shown = {
        "do_convert_rgb": True,
        "do_resize": True,
        "resample": PILLOW[preprocess.interpolation],
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(preprocess.spec.mean),
        "image_std": list(preprocess.spec.std),
    }
    whole = {"height": height, "width": width}
    if preprocess.center_crop_ratio is None:
        return shown | {"image_processor_type": "ViTImageProcessor", "size": whole}
    edge = {"shortest_edge": round(height / preprocess.center_crop_ratio)}
    cut = {"size": edge, "crop_size": whole, "do_center_crop": True}
    return shown | {"image_processor_type": "BitImageProcessor", **cut}


def renamed(subject: Subject, kind: str) -> dict[str, Tensor]:
    """The tensors by their names."""
    of, ours = subject.answers.encoder.settings, subject.answers.encoder.state_dict()
    prefix = f"{kind}." if subject.classes else ""
    theirs = {prefix + FRONT[name]: ours[name] for name in FRONT if name in ours}
    for number in range(of["depth"]):
        block = {
            name.removeprefix(f"blocks.{number}."): tensor
            for name, tensor in ours.items()
            if name.startswith(f"blocks.{number}.")
        }
        if kind != "vit" and not of["layer_scale"]:
            one = torch.ones(of["width"])
            block |= {"ls1.gamma": one, "ls2.gamma": one.clone()}
        names = block_names(block, kind != "vit", of["mlp"] == "swiglu")
        theirs |= {f"{prefix}encoder.layer.{number}.{name}": x for name, x in names.items()}
    if kind == "dinov2_with_registers":  # which nobody reads, and all of these have
        theirs[f"{prefix}embeddings.mask_token"] = torch.zeros(1, of["width"])
    if kind == "vit" and not subject.classes:
        theirs |= {"pooler.dense.weight": torch.eye(of["width"])}
        theirs |= {"pooler.dense.bias": torch.zeros(of["width"])}
    head = subject.stored.classifier
    if head and kind != "vit":
        nothing = torch.zeros_like(head["weight"])
        halves = [head["weight"], nothing] if of["pool"] == "cls" else [nothing, head["weight"]]
        head = head | {"weight": torch.cat(halves, 1)}
    return theirs | {f"classifier.{name}": tensor for name, tensor in head.items()}


def block_names(block: dict[str, Tensor], dinov2: bool, gated: bool) -> dict[str, Tensor]:
    """The tensors of a block; query, key and value apart."""
    theirs = {}
    for name, tensor in block.items():
        module, _, kind = name.rpartition(".")
        if module == "attn.qkv":
            for part, rows in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                theirs[f"attention.attention.{part}.{kind}"] = rows.clone()
        elif module in ("ls1", "ls2"):
            theirs[f"layer_scale{module[2]}.lambda1"] = tensor
        elif gated and module in GATED:
            theirs[f"{GATED[module]}.{kind}"] = tensor
        else:
            theirs[f"{INSIDE[module][dinov2]}.{kind}"] = tensor
    return theirs


class HuggingFaceRunner:
    """An export, opened by transformers alone with its own processor; from pixels to answers.

    Args:
        folder: of the export.
        subject: what was exported: it says which answers to take.
    """

    def __init__(self, folder: Path, subject: Subject) -> None:
        from transformers import AutoImageProcessor, AutoModel, AutoModelForImageClassification
        from transformers.utils import logging

        logging.disable_progress_bar()
        logging.set_verbosity_error()
        self.classes, self.several = subject.classes, subject.stored.spec.multi_label
        self.of = subject.answers.encoder.settings
        family = AutoModelForImageClassification if self.classes else AutoModel
        self.model = family.from_pretrained(folder).eval()
        self.processor = AutoImageProcessor.from_pretrained(folder)

    def __call__(self, images: Tensor) -> list[Tensor]:
        """Answers to uint8 pictures, B H W 3."""
        pictures = list(images.permute(0, 3, 1, 2))
        shown = self.processor(pictures, return_tensors="pt", input_data_format="channels_first")
        return self.forward(shown["pixel_values"])

    def forward(self, images: Tensor) -> list[Tensor]:
        """Answers to normalised pictures, B C h w."""
        with torch.no_grad():
            out = self.model(pixel_values=images)
        if self.classes:
            return [out.logits.sigmoid() if self.several else out.logits.softmax(-1)]
        if self.of["pool"] == "cls":
            return [out.pooler_output]
        return [out.last_hidden_state[:, 1 + self.of["registers"] :].mean(1)]
