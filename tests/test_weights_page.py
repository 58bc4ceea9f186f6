"""docs/weights.md says what loads; it is made of the formats themselves: `python` this file."""

import sys
from pathlib import Path

import pytest
from torchvision.models import ViT_B_16_Weights

from vit.models.weights.fetch import LIBRARIES
from vit.models.weights.hub_cards import known_on_hub
from vit.models.weights.huggingface import FAMILIES
from vit.models.weights.known_cards import Facts, known_by
from vit.models.weights.recognise import FORMATS
from vit.models.weights.released import HALF, IMAGENET

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "weights.md"
RECOGNISED = {  # by what, and which test holds it to the library's own numbers
    "ONNX": ("a graph: its initialisers and the names of its nodes", "test_onnx_graph.py"),
    "Google .npz": ("`Transformer/encoderblock_0/...`, in three countings", "test_google_files.py"),
    "torchvision": ("`encoder.layers.encoder_layer_0...`", "test_torchvision_files.py"),
    "Facebook .pth": ("timm's names with Facebook's nests or file names", "test_facebook_files.py"),
    "timm": ("`patch_embed.proj.weight`, `blocks.0...`", "test_timm_files.py"),
    "Hugging Face": ("`config.json`, or `embeddings.patch_embeddings...`", "test_huggingface.py"),
}
PUBLISHED = {  # px, ImageNet top-1 in %: timm's results-imagenet.csv at aa4b585, 2026-08-08
    "timm:vit_tiny_patch16_224.augreg_in21k_ft_in1k": "224: 75.5",
    "timm:vit_small_patch16_224.augreg_in1k": "224: 78.8",
    "timm:vit_small_patch16_224.augreg_in21k_ft_in1k": "224: 81.4",
    "timm:vit_small_patch16_384.augreg_in21k_ft_in1k": "384: 83.8",
    "timm:vit_base_patch16_224.augreg_in1k": "224: 79.2",
    "timm:vit_base_patch16_224.augreg_in21k_ft_in1k": "224: 84.5",
    "timm:vit_base_patch16_224.sam_in1k": "224: 80.2",
    "timm:vit_base_patch16_384.orig_in21k_ft_in1k": "384: 84.2",
    "timm:vit_large_patch16_224.augreg_in21k_ft_in1k": "224: 85.9",
    "timm:deit_tiny_patch16_224.fb_in1k": "224: 72.2",
    "timm:deit_small_patch16_224.fb_in1k": "224: 79.9",
    "timm:deit_base_distilled_patch16_224.fb_in1k": "224: 83.4 (mean of two heads)",
    "timm:deit3_small_patch16_224.fb_in1k": "224: 81.4",
    "timm:deit3_base_patch16_224.fb_in1k": "224: 83.8",
    "torchvision:vit_b_16": "224: 81.1",
    "hf:google/vit-base-patch16-224": "",
    # of their authors' repositories
    "hf:facebook/dino-vits16": "224: 77.0 linear, 74.5 kNN",
    "hf:facebook/dino-vits8": "224: 79.7 linear, 78.3 kNN",
    "hf:facebook/vit-mae-base": "224: 83.6 fine-tuned, 68.0 linear",
    "hf:facebook/dinov2-small": "",
    "hf:facebook/dinov2-with-registers-small": "",
    "hf:facebook/dinov3-vits16-pretrain-lvd1689m": "",
}
PIXELS = {IMAGENET: "ImageNet's", HALF: "0.5, 0.5"}
HEAD = """# Whose weights load

<!-- Made by `python tests/test_weights_page.py`; a test holds it against the code. -->

```bash
python train.py fit --config configs/finetune/own_images.yaml --data.root my_pictures \\
    --model.pretrained small.safetensors
python train.py compare --config configs/compare/released.yaml --data.root my_pictures \\
    --weights a.safetensors b/ c.npz
```

`--model.pretrained` takes a run, a checkpoint, a file, a folder or a name. What a file is, its
content says. Size, patch, GELU, epsilon, positions, LayerScale, registers and gates come from it.
What it does not say is assumed and printed. What contradicts the config is refused, and so is a
file that holds only part of an encoder.

A name is a library, a colon, and the name there: {names}. It is looked up in that library's
cache, then fetched by it (`pip install -e ".[released]"`). Without a network one line says which
file to put where. No library opens a file: it is read here, without extras, and nothing in it runs
([SECURITY.md](../SECURITY.md)). Tensors are read one at a time: a file of 1 GB takes 1 GB.

## Formats

Each test compares the numbers of the same pictures with the library's own code.

| written by | recognised by | test |
| --- | --- | --- |
"""
FAMILY = """
## Hugging Face's kinds

`config.json` names the kind. `preprocessor_config.json` brings pixels, size and crop; without it
the pixels below are assumed.

| model_type | LayerNorm's epsilon | pixels: mean, deviation | positions for another grid |
| --- | --- | --- | --- |
"""
NAMES = """
## Weights and what is known of them

Figures are published ones, on ImageNet: timm's `results-imagenet.csv` (aa4b585, 2026-08-08), what
torchvision's weights carry, and the authors' repositories for self-supervised ones. "-": none was
read for this table. A licence binds you: look at the publisher's page.

| name | trained on | pictures | by | licence | pixels | published top-1, % |
| --- | --- | --- | --- | --- | --- | --- |
"""
TAIL = """
"Pictures" counts those of the first pre-training. Whatever else has these names loads too: other
sizes, fine-tuned ones, SigLIP's encoders with a mean instead of an attention head.

## What does not load

Hybrids with a ResNet in front, SigLIP's attention-pooling head, BEiT and Swin (relative positions),
graphs of torch's newer ONNX exporter (their matrices have no names), F8 numbers. Each is one line
that says so. Heads are taken where they read the pooled vector; of DeiT's two the first one.
"""


def test_torchvision_s_figure_is_its_own():
    told = ViT_B_16_Weights.DEFAULT.meta["_metrics"]["ImageNet-1K"]["acc@1"]
    assert PUBLISHED["torchvision:vit_b_16"] == f"224: {told:.1f}"


def facts_of(name: str) -> Facts:
    library, _, rest = name.partition(":")
    return known_on_hub(rest, ()) if library == "hf" else known_by(rest)


def page() -> str:
    """The whole of docs/weights.md."""
    examples = ", ".join(
        f"`{next(name for name in PUBLISHED if name.startswith(library))}`" for library in LIBRARIES
    )
    text = HEAD.replace("{names}", examples)
    for known in FORMATS:
        by, test = RECOGNISED[known.name]
        text += f"| {known.name} | {by} | `{test}` |\n"
    text += FAMILY
    for kind, family in FAMILIES.items():
        pixels = PIXELS[family.normalisation]
        text += f"| `{kind}` | {family.norm_eps:g} | {pixels} | `{family.resize}` |\n"
    text += NAMES
    for name, figure in PUBLISHED.items():
        facts = facts_of(name)
        card, pixels = facts.card, PIXELS[facts.normalisation]
        text += (
            f"| `{name}` | {card.data} | {card.images:,} | {card.objective} | {card.licence} | "
            f"{pixels} | {figure or '-'} |\n"
        )
    return text + TAIL


def test_the_page_says_what_the_formats_say():
    assert PAGE.read_text() == page(), "python tests/test_weights_page.py writes it anew"


def test_every_format_has_its_test_and_every_test_its_format():
    assert [known.name for known in FORMATS] == list(RECOGNISED)
    for _, test in RECOGNISED.values():
        assert (ROOT / "tests" / test).is_file(), test


@pytest.mark.parametrize("name", PUBLISHED)
def test_what_the_page_names_is_known(name):
    card = facts_of(name).card
    assert card.data
    assert card.images
    assert card.uses_labels is not None
    assert card.licence


if __name__ == "__main__":
    PAGE.write_text(page())
    sys.stdout.write(f"{PAGE}\n")
