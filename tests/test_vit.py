"""The Vision Transformer is that of the paper, of timm and of torchvision."""

import json
from dataclasses import replace
from functools import partial

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer as TimmViT
from torch import nn
from torchvision.models import VisionTransformer as TorchvisionViT

from builders import GREY, RGB, small_vit
from vit.batch import DataSpec
from vit.flops import training_flops
from vit.models import ViT
from vit.models.block import DropPath
from vit.objectives.supervised import Supervised
from vit.patches import patchify, sincos

close = partial(torch.testing.assert_close, atol=1e-5, rtol=0)


def spec_of(height: int, width: int, channels: int = 3) -> DataSpec:
    return DataSpec(("a", "b"), (height, width), channels, (0.5,) * channels, (0.5,) * channels)


def shaken(module: ViT) -> ViT:
    """Every parameter moved, so that no zero or one hides a mistake; in eval mode."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return module.eval()


def images_of(height: int, width: int, channels: int = 3, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(count, channels, height, width, generator=generator)


# ---- the same numbers as other people's code ----------------------------------------------------


def timm_of(encoder: ViT, image_size: tuple[int, int], **settings) -> TimmViT:
    """timm's model with our weights; strict loading proves that the names are timm's."""
    twin = TimmViT(
        image_size,
        encoder.patch_size,
        num_classes=0,
        embed_dim=encoder.width,
        depth=encoder.depth,
        num_heads=encoder.heads,
        **({"fc_norm": False} | settings),
    )
    state = encoder.state_dict()
    if encoder.reg_token is not None:  # timm has positions for registers, too: here zero
        table, empty = state["pos_embed"], torch.zeros_like(state["reg_token"])
        state["pos_embed"] = torch.cat([table[:, :1], empty, table[:, 1:]], 1)
    twin.load_state_dict(state)
    return twin.eval()


@pytest.mark.parametrize(
    ("size", "width", "heads", "patch"), [((16, 16), 32, 2, 4), ((24, 40), 192, 3, 8)]
)
def test_features_are_those_of_timm(size, width, heads, patch):
    encoder = ViT(spec_of(*size), width=width, depth=3, heads=heads, patch_size=patch, gelu="exact")
    twin, images = timm_of(shaken(encoder), size), images_of(*size)
    found = encoder(images)
    close(found.pooled, twin(images))
    close(found.tokens, twin.forward_features(images)[:, 1:])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({"gelu": "tanh"}, {"act_layer": partial(nn.GELU, approximate="tanh")}),
        ({"pool": "mean"}, {"global_pool": "avg"}),
        ({"pool": "mean", "class_token": False}, {"global_pool": "avg", "class_token": False}),
        ({"registers": 3}, {"reg_tokens": 3}),
        ({"registers": 3, "pool": "mean"}, {"reg_tokens": 3, "global_pool": "avg"}),
        ({"layer_scale": 0.1}, {"init_values": 0.1}),
        ({"mlp_width": 48}, {"mlp_ratio": 1.5}),
        ({"norm_eps": 0.1}, {"norm_layer": partial(nn.LayerNorm, eps=0.1)}),
    ],
)
def test_a_setting_means_what_it_means_to_timm(ours, theirs):
    encoder = shaken(small_vit(RGB, **({"patch_size": 4, "gelu": "exact"} | ours)))
    images = images_of(16, 16)
    close(encoder(images).pooled, timm_of(encoder, (16, 16), **theirs)(images))


def test_what_is_not_given_is_as_in_the_papers_code():
    settings = {"act_layer": partial(nn.GELU, approximate="tanh")}
    encoder, images = shaken(small_vit(RGB)), images_of(16, 16)
    close(encoder(images).pooled, timm_of(encoder, (16, 16), **settings)(images))
    assert encoder.norm.eps == 1e-6
    assert encoder.settings["resize"] == "bilinear_corners"
    assert encoder.settings["dropout"] == encoder.settings["drop_path"] == 0


def test_the_other_gelu_would_be_noticed():
    encoder = shaken(small_vit(RGB, patch_size=4, gelu="tanh"))
    images = images_of(16, 16)
    difference = encoder(images).pooled - timm_of(encoder, (16, 16))(images)
    assert difference.abs().max() > 1e-4


@pytest.mark.parametrize("size", [(32, 32), (8, 40)])
def test_another_size_at_run_time_is_that_of_timm(size):
    settings = {"patch_size": 4, "gelu": "exact", "resize": "bicubic_antialias"}
    encoder = shaken(small_vit(spec_of(16, 24), **settings))
    images = images_of(*size)
    close(encoder(images).pooled, timm_of(encoder, (16, 24), dynamic_img_size=True)(images))


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, {}),
        ({"registers": 3}, {"reg_tokens": 3}),
        ({"registers": 1, "pool": "mean"}, {"reg_tokens": 1, "global_pool": "avg"}),
    ],
)
def test_intermediate_layers_are_those_of_timm(ours, theirs):
    encoder = shaken(small_vit(RGB, depth=4, patch_size=4, gelu="exact", **ours))
    twin, images = timm_of(encoder, (16, 16), **theirs), images_of(16, 16)
    features = encoder(images, layers=(1, 3, 4))
    _, expected = twin.forward_intermediates(
        images, indices=[0, 2, 3], output_fmt="NLC", return_prefix_tokens=True
    )
    assert list(features.layers) == ["block1", "block3", "block4"]
    for tokens, (patches, prefix) in zip(features.layers.values(), expected, strict=True):
        close(tokens, torch.cat([prefix, patches], 1))
    assert torch.equal(encoder.norm(features.layers["block4"])[:, encoder.front :], features.tokens)


def test_a_layer_that_is_one_block_late_would_be_noticed(monkeypatch):
    """A planted fault: the tokens before a block instead of those after it."""

    def late(self, patches, layers, grid):
        tokens, between = self.sequence(patches), {}
        for number, block in enumerate(self.blocks, start=1):
            if number in layers:
                between[f"block{number}"] = tokens
            tokens = block(tokens)
        return self.norm(tokens), between

    monkeypatch.setattr(ViT, "encode_with_layers", late)
    with pytest.raises(AssertionError, match="not close"):
        test_intermediate_layers_are_those_of_timm({}, {})


def test_what_is_asked_between_changes_nothing_at_the_end():
    encoder, images = shaken(small_vit(drop_path=0.2, registers=1)).train(), images_of(8, 8, 1)
    gradients = []
    for layers in ((), (1, 2)):
        torch.manual_seed(0)
        features = encoder(images, layers=layers)
        features.pooled.square().sum().backward()
        gradients.append([features.pooled, *(p.grad for p in encoder.parameters())])
        encoder.zero_grad(set_to_none=True)
    assert all(map(torch.equal, *gradients))
    assert encoder(images).layers is None


@pytest.mark.parametrize("number", [-1, 0, 3])
def test_a_layer_that_is_not_there_is_named(number):
    with pytest.raises(ValueError, match=rf"ViT: layers must be from 1 to 2, got {number}"):
        small_vit()(images_of(8, 8, 1), layers=(1, number))


NAMES = {  # ours to torchvision's; the order matters: norm1 before norm
    "patch_embed.proj": "conv_proj",
    "cls_token": "class_token",
    "pos_embed": "encoder.pos_embedding",
    "blocks.": "encoder.layers.encoder_layer_",
    "norm1": "ln_1",
    "norm2": "ln_2",
    "norm": "encoder.ln",
    "attn.qkv.": "self_attention.in_proj_",
    "attn.proj": "self_attention.out_proj",
    "mlp.fc1": "mlp.0",
    "mlp.fc2": "mlp.3",
}


def torchvision_name(name: str) -> str:
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name


@pytest.mark.parametrize(("side", "width", "heads", "patch"), [(16, 32, 2, 4), (32, 192, 3, 8)])
def test_features_are_those_of_torchvision(side, width, heads, patch):
    spec = spec_of(side, side)
    encoder = ViT(spec, width=width, depth=2, heads=heads, patch_size=patch, gelu="exact")
    twin = TorchvisionViT(side, patch, 2, heads, width, 4 * width).eval()
    twin.heads = nn.Identity()
    state = shaken(encoder).state_dict()
    twin.load_state_dict({torchvision_name(name): value for name, value in state.items()})
    images = images_of(side, side)
    close(encoder(images).pooled, twin(images))


def test_embedding_is_one_linear_map_of_each_patch():
    encoder = shaken(small_vit(RGB, patch_size=4))
    kernel, images = encoder.patch_embed.proj.weight, images_of(16, 16)
    by_channel_last = kernel.permute(0, 2, 3, 1).flatten(1)  # D P
    expected = patchify(images, 4) @ by_channel_last.T + encoder.patch_embed.proj.bias
    close(encoder.embed(images), expected)


# ---- the start ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def fresh() -> dict[str, torch.Tensor]:
    """One block as wide as ViT-B/16's: enough numbers for tight statistics."""
    torch.manual_seed(0)
    return dict(ViT(spec_of(224, 224), "B/16", depth=1).named_parameters())


@pytest.mark.parametrize(
    ("name", "std", "largest"),
    [  # as found in the authors' JAX model at B/16
        ("patch_embed.proj.weight", 0.03606, 0.0820),
        ("blocks.0.attn.proj.weight", 0.0361, 0.0625),
        ("blocks.0.mlp.fc1.weight", 0.0228, 0.0395),
        ("blocks.0.mlp.fc2.weight", 0.0228, 0.0395),
    ],
)
def test_weights_start_with_the_papers_spread(fresh, name, std, largest):
    assert fresh[name].std().item() == pytest.approx(std, rel=0.005)
    assert fresh[name].abs().max().item() == pytest.approx(largest, rel=0.005)
    assert abs(fresh[name].mean().item()) < 0.005 * std


@pytest.mark.parametrize("part", [0, 1, 2])
def test_query_key_and_value_start_as_three_matrices(fresh, part):
    weight = fresh["blocks.0.attn.qkv.weight"].chunk(3)[part]
    assert weight.std().item() == pytest.approx(0.0361, rel=0.005)
    assert weight.abs().max().item() == pytest.approx(0.0625, rel=0.001)


def test_the_fused_start_of_other_libraries_would_be_noticed(fresh):
    """A planted fault: Xavier over the three at once makes them sqrt(2) too small."""
    fused = nn.init.xavier_uniform_(torch.empty(3 * 768, 768))
    with pytest.raises(AssertionError):
        test_query_key_and_value_start_as_three_matrices({"blocks.0.attn.qkv.weight": fused}, 0)


def test_positions_start_normal_and_uncut(fresh):
    assert fresh["pos_embed"].std().item() == pytest.approx(0.02, rel=0.01)
    assert fresh["pos_embed"].abs().max() > 0.07  # 3.5 deviations


def test_the_biases_of_the_mlp_start_next_to_nothing(fresh):
    for name in ("blocks.0.mlp.fc1.bias", "blocks.0.mlp.fc2.bias"):
        assert fresh[name].std().item() == pytest.approx(1e-6, rel=0.1)


def test_the_rest_starts_at_zero_or_one(fresh):
    zeros = ["cls_token", "patch_embed.proj.bias", "blocks.0.attn.qkv.bias"]
    zeros += ["blocks.0.attn.proj.bias", "blocks.0.norm1.bias", "blocks.0.norm2.bias", "norm.bias"]
    for name in zeros:
        assert fresh[name].abs().max() == 0, name
    for name in ("blocks.0.norm1.weight", "blocks.0.norm2.weight", "norm.weight"):
        assert (fresh[name] == 1).all(), name


def test_layer_scale_starts_at_the_given_factor():
    block = small_vit(layer_scale=1e-4).blocks[1]
    assert block.ls1.gamma.tolist() == block.ls2.gamma.tolist() == pytest.approx([1e-4] * 32)


# ---- sizes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "count"),
    [
        ("Ti/16", 5_717_416),
        ("S/16", 22_050_664),
        ("S/32", 22_878_952),
        ("M/16", 38_837_736),
        ("B/16", 86_567_656),
        ("L/32", 306_535_400),
        ("So400m/14", 413_597_656),
        ("H/14", 632_045_800),
        ("g/14", 1_012_611_432),
        ("G/14", 1_844_440_680),
    ],
)
def test_a_named_size_has_the_published_number_of_parameters(size, count):
    with torch.device("meta"):
        encoder = ViT(spec_of(224, 224), size)
    head = 1000 * encoder.width + 1000  # the table counts it; here it is the objective's
    assert sum(parameter.numel() for parameter in encoder.parameters()) + head == count


def shape_of(**settings) -> tuple[int, int, int, int]:
    """Width, depth, heads and patch of an encoder for 32x32 images."""
    with torch.device("meta"):
        encoder = ViT(spec_of(32, 32), **settings)
    return encoder.width, encoder.depth, encoder.heads, encoder.patch_size


def test_a_name_without_a_patch_follows_the_image():
    assert shape_of(size="S") == (384, 12, 6, 4)


def test_what_is_given_beside_a_name_overrides_it():
    assert shape_of(size="S/8", width=192, depth=3, heads=3, patch_size=16) == (192, 3, 3, 16)


@pytest.mark.parametrize(("width", "heads"), [(32, 1), (128, 2)])
def test_a_width_alone_brings_heads_of_64(width, heads):
    assert shape_of(width=width, depth=1) == (width, 1, heads, 4)


@pytest.mark.parametrize("settings", [{"width": 96, "depth": 1}, {"size": "Ti", "width": 96}])
def test_a_width_brings_an_mlp_of_four_times_it(settings):
    with torch.device("meta"):
        assert ViT(spec_of(32, 32), **settings | {"heads": 3}).settings["mlp_width"] == 384


@pytest.mark.parametrize(
    ("size", "patch"),
    [((8, 8), 2), ((16, 16), 2), ((20, 20), 4), ((64, 64), 4), ((80, 80), 16), ((16, 224), 2)],
)
def test_the_patch_follows_the_shorter_side_of_the_image(size, patch):
    with torch.device("meta"):
        encoder = ViT(spec_of(*size), width=32, depth=1)
    assert encoder.patch_size == patch
    assert encoder.grid == (size[0] // patch, size[1] // patch)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": "Q/16"}, "unknown size 'Q/16'.* B/16"),
        ({"size": "B/x"}, "unknown size 'B/x'"),
        ({"size": "B/0"}, "patch_size must be at least 1, got 0|unknown size 'B/0'"),
        ({"width": 32, "depth": 1, "heads": 5}, "5 heads do not divide width 32"),
        ({"width": 32, "depth": 1, "patch_size": 3}, "8x8 image .* patches of 3"),
        ({"width": 32, "depth": 1, "class_token": False}, "pool: cls needs class_token"),
        ({"depth": 1, "heads": 2}, "width"),
        ({"width": 32}, "depth"),
        ({"width": 30, "depth": 1, "position": "sincos"}, "multiple of 4, got 30"),
        ({"width": 32, "depth": 1, "dropout": 1.5}, "1.5"),
    ],
)
def test_a_wrong_setting_is_named(settings, words):
    with pytest.raises(ValueError, match=words):
        ViT(GREY, **settings)


@pytest.mark.parametrize("key", ["width", "depth", "heads", "mlp_width", "patch_size"])
@pytest.mark.parametrize("value", [0, -2])
def test_no_number_below_one_is_taken(key, value):
    with pytest.raises(ValueError, match=f"{key} must be at least 1, got {value}"):
        ViT(GREY, **({"width": 32, "depth": 1, "heads": 2} | {key: value}))


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1.5])
def test_no_drop_path_outside_zero_to_one_is_taken(rate):
    with pytest.raises(ValueError, match="drop_path"):
        ViT(GREY, width=32, depth=2, drop_path=rate)


# ---- other images -------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "grid"), [((16, 16), (8, 8)), ((4, 10), (2, 5))])
def test_another_image_size_gets_resampled_positions(size, grid):
    encoder = shaken(small_vit(GREY))  # made for a grid of 4 x 4
    table = encoder.pos_embed[:, 1:].detach().reshape(1, 4, 4, 32).permute(0, 3, 1, 2)
    resized = nn.functional.interpolate(table, grid, mode="bilinear", align_corners=True)
    built = small_vit(spec_of(*size, channels=1))
    state = encoder.state_dict()
    state["pos_embed"] = torch.cat([state["pos_embed"][:, :1], resized.flatten(2).mT], 1)
    built.load_state_dict(state)
    images = images_of(*size, channels=1)
    close(encoder(images).pooled, built.eval()(images).pooled)
    assert encoder(images).grid == grid


@pytest.mark.parametrize("step", ["forward", "embed"])
def test_an_image_that_no_patch_divides_names_both_numbers(step):
    with pytest.raises(ValueError, match=r"10x9 image .* patches of 2"):
        getattr(small_vit(), step)(images_of(10, 9, channels=1))


@pytest.mark.parametrize("channels", [1, 5])
def test_every_channel_of_an_image_is_read(channels):
    encoder = shaken(small_vit(spec_of(8, 8, channels)))
    images = images_of(8, 8, channels).requires_grad_()
    encoder(images).pooled[:, 0].sum().backward()
    assert images.grad.abs().amax((0, 2, 3)).min() > 0


def test_patches_change_their_meaning_with_their_place():
    encoder = shaken(small_vit())
    images = images_of(8, 8, channels=1)
    assert (encoder(images).pooled - encoder(images.flip(-1)).pooled).abs().max() > 1e-3


# ---- hidden patches -----------------------------------------------------------------------------

KEPT = torch.tensor([[0, 3, 7], [2, 9, 15]])


def placed(encoder: ViT, images: torch.Tensor) -> torch.Tensor:
    return encoder.add_position(encoder.embed(images))


def test_kept_patches_are_encoded_as_if_alone():
    encoder = shaken(small_vit(registers=2))
    patches = placed(encoder, images_of(8, 8, channels=1))
    alone = torch.stack([row[kept] for row, kept in zip(patches, KEPT, strict=True)])
    assert torch.equal(encoder.encode(patches, kept=KEPT), encoder.encode(alone))


def felt(encoder: ViT, kept: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient that reaches kept and hidden patches of the images."""
    images = images_of(8, 8, channels=1).requires_grad_()
    tokens = encoder.encode(placed(encoder, images), kept=kept)
    tokens[..., 0].sum().backward()  # one coordinate: a summed LayerNorm has no gradient
    reached = patchify(images.grad, 2).abs().amax(-1)  # B N
    hidden = torch.ones_like(reached, dtype=torch.bool).scatter(1, KEPT, value=False)
    return reached[~hidden], reached[hidden]


def test_no_hidden_pixel_reaches_the_encoder():
    kept, hidden = felt(shaken(small_vit()), KEPT)
    assert kept.min() > 1e-4
    assert hidden.max() == 0


def test_a_leak_would_be_noticed():
    """A planted fault: nothing is hidden, and the gradient says so."""
    _, hidden = felt(shaken(small_vit()), None)
    assert hidden.min() > 1e-4


def test_a_prefix_stands_between_the_front_and_the_patches():
    encoder = shaken(small_vit(registers=2))
    patches = placed(encoder, images_of(8, 8, channels=1))
    prefix = torch.randn(2, 3, 32)
    found = encoder.encode(patches, prefix=prefix)
    assert torch.equal(found, encoder.encode(torch.cat([prefix, patches], 1)))
    assert found.shape == (2, 1 + 2 + 3 + 16, 32)


# ---- training -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings",
    [{"dropout": 0.5}, {"drop_path": 0.5}, {"drop_path": 0.5, "drop_path_form": "subset"}],
)
def test_randomness_acts_in_training_only(settings):
    plain, noisy = shaken(small_vit()), shaken(small_vit(**settings))
    images = images_of(8, 8, channels=1)
    assert torch.equal(plain(images).pooled, noisy(images).pooled)
    noisy.train()
    assert not torch.equal(noisy(images).pooled, noisy(images).pooled)


def test_dropout_follows_positions_attention_and_both_layers_of_the_mlp():
    encoder, seen = small_vit(depth=1, mlp_width=64, dropout=0.5), []
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.register_forward_hook(lambda _module, inputs, _out: seen.append(inputs[0]))
    encoder(images_of(8, 8, channels=1))
    assert [tensor.shape[-1] for tensor in seen] == [32, 32, 64, 32]
    close(seen[0][:, 1:], placed(encoder, images_of(8, 8, channels=1)))


def test_drop_path_skips_whole_images_and_keeps_the_mean():
    torch.manual_seed(0)
    rows = DropPath(0.25).train()(torch.zeros(4000, 3, 2), torch.ones_like).flatten(1)
    assert rows.unique().tolist() == pytest.approx([0, 4 / 3])
    assert (rows == rows[:, :1]).all()
    assert rows.mean().item() == pytest.approx(1, abs=0.03)


def test_a_subset_has_always_as_many_images_and_only_they_are_computed():
    torch.manual_seed(0)
    drop, seen, sums = DropPath(0.25, "subset").train(), [], torch.zeros(8)
    for _ in range(400):
        rows = drop(torch.zeros(8, 3, 2), lambda x: seen.append(len(x)) or torch.ones_like(x))
        assert rows[:, 0, 0].tolist().count(0.0) == 2
        assert rows.unique().tolist() == pytest.approx([0, 8 / 6])
        sums += rows[:, 0, 0]
    assert set(seen) == {6}
    assert (sums / 400).tolist() == pytest.approx([1] * 8, abs=0.15)


def test_a_subset_costs_as_much_less_as_it_leaves_out():
    """Half the images through the last of two blocks: three quarters of the blocks' cost."""
    whole, half = (
        training_flops(Supervised(small_vit(drop_path=rate, drop_path_form="subset"), GREY), GREY)
        for rate in (0.0, 0.5)
    )
    assert half == pytest.approx(0.75 * whole, rel=0.03)


def test_a_dropped_branch_leaves_the_residual_untouched():
    block = shaken(small_vit(depth=2, drop_path=0.999)).blocks[1].train()
    tokens = torch.randn(4, 5, 32)
    torch.manual_seed(0)
    assert torch.equal(block(tokens), tokens)


def test_drop_path_rises_from_zero_to_its_rate():
    blocks = small_vit(depth=3, drop_path=0.2).blocks
    assert [block.drop_path.rate for block in blocks] == pytest.approx([0, 0.1, 0.2])


# ---- what others build on -----------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["cls", "mean"])
@pytest.mark.parametrize("size", [(8, 8), (12, 4)])
def test_forward_is_its_steps_one_after_the_other(pool, size):
    encoder = shaken(small_vit(registers=2, pool=pool))
    images = images_of(*size, channels=1)
    grid = (size[0] // 2, size[1] // 2)
    tokens = encoder.encode(encoder.add_position(encoder.embed(images), grid))
    found = encoder(images)
    assert torch.equal(found.pooled, encoder.pool(tokens))
    assert torch.equal(found.tokens, tokens[:, 3:])
    assert torch.equal(found.cls, tokens[:, 0])


def test_the_mean_leaves_out_class_token_and_registers():
    encoder = small_vit(registers=2, pool="mean")
    tokens = torch.tensor([100.0, 200, 300, 1, 2, 3])[None, :, None].expand(1, 6, 32)
    assert encoder.pool(tokens).unique().tolist() == [2]


def test_without_a_class_token_there_is_none_to_read():
    found = small_vit(class_token=False, pool="mean")(images_of(8, 8, channels=1))
    assert found.cls is None
    assert found.tokens.shape == (2, 16, 32)


def test_sine_cosine_positions_are_fixed_and_leave_the_class_token_alone():
    encoder = small_vit(position="sincos")
    assert "pos_embed" not in dict(encoder.named_parameters())
    assert encoder.pos_embed[0, 0].abs().max() == 0
    assert torch.equal(encoder.pos_embed[0, 1:], sincos((4, 4), 32))
    half = torch.zeros(1, 4, 32, dtype=torch.bfloat16)  # as autocast embeds patches
    assert torch.equal(encoder.add_position(half, (2, 2))[0], sincos((2, 2), 32))


def test_layers_count_from_the_input_through_the_blocks_to_the_norm():
    with torch.device("meta"):
        encoder = ViT(GREY, width=32, depth=12, registers=1)
    found = {name: encoder.layer_of(name) for name, _ in encoder.named_parameters()}
    front = {"cls_token", "reg_token", "pos_embed"}
    front |= {"patch_embed.proj.weight", "patch_embed.proj.bias"}
    assert {name for name, layer in found.items() if layer == 0} == front
    assert {name for name, layer in found.items() if layer == 13} == {"norm.weight", "norm.bias"}
    for block in range(12):
        names = {name for name, layer in found.items() if layer == block + 1}
        assert {name.split(".")[1] for name in names} == {str(block)}


def test_the_parts_to_shard_are_the_blocks_in_order():
    encoder = small_vit(depth=3)
    assert encoder.blocks_to_shard() == [encoder.blocks[0], encoder.blocks[1], encoder.blocks[2]]


EVERY = {
    "width": 24,
    "depth": 2,
    "heads": 3,
    "mlp_width": 40,
    "patch_size": 4,
    "class_token": False,
    "registers": 2,
    "pool": "mean",
    "position": "sincos",
    "resize": "bicubic",
    "gelu": "exact",
    "norm_eps": 0.1,
    "dropout": 0.1,
    "drop_path": 0.2,
    "layer_scale": 0.3,
    "drop_path_form": "subset",
}


@pytest.mark.parametrize("settings", [EVERY, {"size": "mu/4"}])
def test_settings_rebuild_the_same_encoder(settings):
    first = shaken(ViT(GREY, **settings))
    again = ViT(GREY, **json.loads(json.dumps(first.settings)))  # plain values
    assert again.settings == first.settings
    again.load_state_dict(first.state_dict())
    images = images_of(12, 8, channels=1)
    assert torch.equal(first(images).pooled, again.eval()(images).pooled)


@pytest.mark.parametrize("key", sorted(EVERY))
def test_settings_hold_what_was_asked(key):
    assert ViT(GREY, **EVERY).settings[key] == EVERY[key]


def test_reset_leaves_positions_of_another_grid_as_drawn_and_loads_the_rest():
    small, large = small_vit(), small_vit(replace(GREY, image_size=(16, 16)), resize="reset")
    drawn = large.pos_embed.detach().clone()
    state = large.adapt(small.state_dict(), small.grid)
    count = large.grid[0] * large.grid[1]
    assert torch.equal(state["pos_embed"][:, -count:], drawn[:, -count:])
    assert torch.equal(state["pos_embed"][:, :1], small.pos_embed[:, :1])
    same = small_vit(resize="reset")
    assert torch.equal(same.adapt(small.state_dict(), small.grid)["pos_embed"], small.pos_embed)
