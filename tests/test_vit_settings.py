"""What released encoders need of our ViT also trains, masks and resizes."""

import pytest
import torch

from builders import GREY, RGB, batch_of, every_objective, small_vit
from released import close, pictures, shaken
from vit.models.block import rotate
from vit.models.sizes import check_rope
from vit.patches import rope

ROTATED = {"position": "rope", "mlp": "swiglu", "qk_norm": True, "registers": 2, "patch_size": 4}


def test_rope_rotates_by_the_angles_of_dinov3():
    """Worked by hand: two columns stand at -1/2 and 1/2; frequencies are 2 pi and a tenth of it."""
    cosine, sine = rope((1, 2), 8, 100.0)
    angles = torch.tensor([[0, 0, -torch.pi, -torch.pi / 10], [0, 0, torch.pi, torch.pi / 10]])
    torch.testing.assert_close(cosine, angles.cos().repeat(1, 2))
    torch.testing.assert_close(sine, angles.sin().repeat(1, 2), atol=1e-6, rtol=0)
    half = torch.tensor([0.0, 1.0])
    turned = rotate(
        torch.tensor([[3.0, 4.0]]), torch.stack([half[:1].expand(2), half[1:].expand(2)])
    )
    assert turned.tolist() == [[-4.0, 3.0]]  # by a right angle


def test_with_rope_nothing_is_added_to_patches():
    encoder, patches = small_vit(RGB, **ROTATED), torch.randn(2, 16, 32)
    assert encoder.add_position(patches) is patches
    assert "pos_embed" not in encoder.state_dict()


def test_kept_patches_keep_their_own_angles():
    encoder = shaken(small_vit(RGB, **ROTATED))
    patches = encoder.embed(pictures(16, 16))
    order = torch.stack([torch.randperm(16, generator=torch.Generator().manual_seed(i))
                         for i in range(2)])  # fmt: skip
    front = encoder.front
    expected = encoder.encode(patches)
    found = encoder.encode(patches, kept=order)
    close(found[:, :front], expected[:, :front])
    places = (order + front)[..., None].expand(-1, -1, 32)
    close(found[:, front:], expected.gather(1, places))
    some = encoder.encode(patches, kept=order[:, :5])
    assert (some[:, front:] - expected.gather(1, places[:, :5])).abs().max() > 1e-3


def test_a_grid_that_is_not_the_encoders_must_be_given():
    encoder = small_vit(RGB, **ROTATED)
    patches = encoder.embed(pictures(16, 24))
    with pytest.raises(ValueError, match=r"RoPE needs the grid of 24 patches, got \(4, 4\)"):
        encoder.encode(patches)
    assert encoder.encode(patches, grid=(4, 6)).shape == (2, 27, 32)
    assert encoder(pictures(16, 24), layers=(1,)).layers["block1"].shape == (2, 27, 32)


@pytest.mark.parametrize(("head_width", "form", "base", "message"), [
    (6, "image", 100.0, "needs heads of a multiple of 4, got 6"),
    (8, "subset", 100.0, "does not go with position: rope; set image"),
    (8, "image", 0.0, "rope_base must be above 0, got 0"),
])  # fmt: skip
def test_rope_that_cannot_be_is_refused(head_width, form, base, message):
    with pytest.raises(ValueError, match=message):
        check_rope(head_width, form, base)


def test_the_last_norm_over_the_pooled_vector_is_part_of_the_last_layer():
    encoder = shaken(small_vit(RGB, patch_size=4, pool="mean", norm="pooled"))
    images = pictures(16, 16)
    features = encoder(images)
    close(features.pooled, encoder.fc_norm(features.tokens.mean(1)))
    assert features.tokens.std(-1).max() > 1.01  # these are not normalised
    names = [name for name, _ in encoder.named_parameters() if encoder.layer_of(name) == 3]
    assert names == ["fc_norm.weight", "fc_norm.bias"]


OBJECTIVES = every_objective()


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_trains_such_an_encoder(name):
    spec = RGB if name == "mpp" else GREY
    objective = OBJECTIVES[name](small_vit(spec, **ROTATED | {"patch_size": 2}), spec)
    shaken(objective).train()  # heads begin as zeros, through which no gradient comes
    losses = objective(batch_of_views(objective, spec), 0.5)
    losses.loss.backward()
    gradient = objective.encoder.blocks[0].attn.q_norm.weight.grad
    assert gradient is not None
    assert gradient.abs().max() > 0


def batch_of_views(objective, spec):
    """A batch with as many views of their sizes as the objective asks for."""
    batch = batch_of(spec)
    sizes = [v.size or spec.image_size[0] for v in objective.views for _ in range(v.count)]
    generator = torch.Generator().manual_seed(0)
    batch.views = [torch.randn(4, spec.channels, side, side, generator=generator) for side in sizes]
    return batch
