"""torchvision's models give the same numbers here, out of the files that it publishes."""

from dataclasses import replace

import pytest
import torch
from torchvision.models import VisionTransformer
from torchvision.models.vision_transformer import interpolate_embeddings

from released import close, loaded, logits, pictures, shaken
from vit.models.weights import load_into, stored_encoder
from vit.models.weights.opening import open_weights
from vit.models.weights.torchvision_files import is_torchvision

SIZES = [(64, 2, 4), (128, 3, 8), (192, 2, 6)]  # width, depth, patch; 64 numbers a head


def model_of(
    width: int, depth: int, patch: int, side: int = 24, classes: int = 5
) -> VisionTransformer:
    heads = width // 64
    return shaken(
        VisionTransformer(side, patch, depth, heads, width, 4 * width, num_classes=classes)
    )


@pytest.mark.parametrize(("width", "depth", "patch"), SIZES)
def test_logits_are_those_of_torchvision(tmp_path, width, depth, patch):
    model = model_of(width, depth, patch)
    torch.save(model.state_dict(), tmp_path / "vit_b_16-c867db91.pth")
    encoder, stored = loaded(tmp_path / "vit_b_16-c867db91.pth")
    images = pictures(24, 24)
    close(logits(encoder, stored, images), model(images))
    assert stored.preprocessing["center_crop_ratio"] == 0.875
    assert stored.preprocessing["interpolation"] == "bilinear"
    assert "data: ImageNet-1k" in stored.lineage[0].config


def test_old_names_of_the_mlp_are_read(tmp_path):
    state = model_of(64, 2, 4).state_dict()
    old = {n.replace("mlp.0", "mlp.linear_1").replace("mlp.3", "mlp.linear_2"): t
           for n, t in state.items()}  # fmt: skip
    torch.save(state, tmp_path / "new.pth")
    torch.save(old, tmp_path / "old.pth")
    new, first = stored_encoder(tmp_path / "new.pth"), stored_encoder(tmp_path / "old.pth")
    assert all(torch.equal(new.state[name], tensor) for name, tensor in first.state.items())


@pytest.mark.parametrize("side", [16, 40])
def test_positions_are_resized_as_torchvision_does(tmp_path, side):
    model = model_of(64, 2, 4)
    torch.save(model.state_dict(), tmp_path / "a.pth")
    stored = stored_encoder(tmp_path / "a.pth")
    encoder = stored.build(replace(stored.spec, image_size=(side, side))).eval()
    load_into(encoder, stored, 3)
    other = model_of(64, 2, 4, side)
    other.load_state_dict(interpolate_embeddings(side, 4, model.state_dict()))
    close(logits(encoder, stored, pictures(side, side)), other(pictures(side, side)))


def test_a_thousand_outputs_are_assumed_to_be_imagenets(tmp_path):
    torch.save(model_of(64, 1, 8, classes=1000).state_dict(), tmp_path / "a.pth")
    stored = stored_encoder(tmp_path / "a.pth")
    assert stored.spec.classes[:2] == ("tench", "goldfish")
    assert any("assumed to be ImageNet's" in note for note in stored.notes)


def test_other_names_are_not_taken_for_torchvisions(tmp_path):
    torch.save({"conv_proj.weight": torch.zeros(2)}, tmp_path / "a.pth")
    assert not is_torchvision(open_weights(tmp_path / "a.pth"))
    with pytest.raises(ValueError, match=r"a\.pth holds 1 tensors \(conv_proj\.weight, \.\.\.\)"):
        stored_encoder(tmp_path / "a.pth")
