"""The ResNet is torchvision's; only the stem differs, and only where asked for."""

import pytest
import torch
from torch import nn
from torchvision.models import resnet18

from builders import GREY, RGB
from test_weights import content, save
from vit.batch import DataSpec
from vit.models import ResNet
from vit.models.weights import stored_encoder


def spec_of(side: int, channels: int = 3) -> DataSpec:
    return DataSpec(("a", "b"), (side, side), channels, (0.5,) * channels, (0.5,) * channels)


def resolution(encoder: ResNet, images: torch.Tensor) -> tuple[int, int]:
    """Rows and columns that the first stage receives."""
    seen = []
    encoder.net.layer1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    encoder.eval()(images)
    return tuple(seen[0].shape[-2:])


def test_stages_are_what_torchvisions_layers_give():
    encoder = ResNet(spec_of(32)).eval()
    images, maps = torch.randn(2, 3, 32, 32), {}
    for number in (2, 4):
        getattr(encoder.net, f"layer{number}").register_forward_hook(
            lambda _module, _inputs, out, number=number: maps.update({f"stage{number}": out})
        )
    features = encoder(images, layers=(2, 4))
    assert set(features.layers) == {"stage2", "stage4"}
    for name, tokens in features.layers.items():
        assert torch.equal(tokens, maps[name].flatten(2).mT)
    assert torch.equal(features.pooled, encoder(images).pooled)
    with pytest.raises(ValueError, match="ResNet: layers must be from 1 to 4, got 5"):
        encoder(images, layers=(5,))


def test_with_the_large_stem_it_is_torchvisions():
    torch.manual_seed(0)
    theirs = resnet18(weights=None).eval()
    theirs.fc = nn.Identity()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    ours = ResNet(spec_of(64), small_stem=False).eval()
    ours.net.load_state_dict(theirs.state_dict())
    images = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(ours(images).pooled, theirs(images), atol=1e-5, rtol=0)


def test_a_small_stem_keeps_every_pixel():
    assert resolution(ResNet(RGB), torch.randn(1, 3, 16, 16)) == (16, 16)


def test_a_large_stem_keeps_every_fourth_pixel():
    images = torch.randn(1, 3, 64, 64)
    assert resolution(ResNet(spec_of(64), small_stem=False), images) == (16, 16)


@pytest.mark.parametrize(("side", "small"), [(64, True), (65, False)])
def test_the_stem_follows_the_image_where_it_is_not_given(side, small):
    with torch.device("meta"):
        assert ResNet(spec_of(side)).settings["small_stem"] is small


@pytest.mark.parametrize("small_stem", [True, False])
def test_grey_images_reach_the_features(small_stem):
    images = torch.randn(2, 1, 32, 32, requires_grad=True)
    ResNet(GREY, small_stem=small_stem).eval()(images).pooled.square().sum().backward()
    assert images.grad.abs().amax((1, 2, 3)).min() > 0


def test_it_offers_one_vector_an_image_and_no_tokens():
    found = ResNet(GREY).eval()(torch.randn(2, 1, 8, 8))
    assert found.pooled.shape == (2, 512)
    assert (found.tokens, found.cls, found.grid) == (None, None, None)


@pytest.mark.parametrize(("name", "width"), [("resnet34", 512), ("resnet50", 2048)])
def test_the_width_is_that_of_the_features(name, width):
    with torch.device("meta"):
        encoder = ResNet(RGB, name)
        assert encoder.width == encoder(torch.zeros(2, 3, 16, 16)).pooled.shape[1] == width


def test_no_head_is_left_in_the_encoder():
    assert not any(".fc." in name for name, _ in ResNet(GREY).named_parameters())


def test_layers_count_from_the_stem_through_the_four_stages():
    with torch.device("meta"):
        encoder = ResNet(RGB, "resnet50")
    found = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    assert found["net.conv1.weight"] == found["net.bn1.bias"] == 0
    for name, layer in found.items():
        if ".layer" in name:
            assert name.startswith(f"net.layer{layer}.")
    assert set(found.values()) == set(range(encoder.depth + 1))


def test_the_parts_to_shard_are_the_stages_in_order():
    with torch.device("meta"):
        encoder = ResNet(RGB)
    names = [
        name for name, module in encoder.named_modules() if module in encoder.blocks_to_shard()
    ]
    assert names == [f"net.layer{stage}" for stage in (1, 2, 3, 4)]


def test_every_residual_branch_starts_at_nothing():
    for name, parameter in ResNet(GREY).named_parameters():
        if name.endswith("bn2.weight"):
            assert parameter.abs().max() == 0, name


def test_settings_rebuild_the_same_encoder():
    first = ResNet(spec_of(64), "resnet18", small_stem=False)
    again = ResNet(spec_of(64), **first.settings)
    assert again.settings == {"name": "resnet18", "small_stem": False}
    again.load_state_dict(first.state_dict())
    images = torch.randn(1, 3, 64, 64)
    assert torch.equal(first.eval()(images).pooled, again.eval()(images).pooled)


def test_a_checkpoint_names_no_other_function_of_torchvision(tmp_path):
    stored = content(ResNet(GREY))
    stored["encoder"]["settings"]["name"] = "_resnet"
    with pytest.raises(ValueError, match="_resnet"):  # by its own check, or by pytest's of types
        stored_encoder(save(stored, tmp_path)).build(GREY)
