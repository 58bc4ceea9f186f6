"""Masked patch prediction: colours by hand, the 80/10/10 split, and nothing hidden leaks."""

from math import log

import jaxtyping
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor

from builders import GREY, RGB, batch_of, grouped, small_vit
from vit.batch import Batch, DataSpec
from vit.data import Digits
from vit.data.normalisation import normalise
from vit.models import ResNet
from vit.objectives.mpp import MaskedPatchPrediction
from vit.patches import patchify

WIDE = DataSpec(("a", "b"), (28, 28), 1, (0.5,), (0.5,))  # 196 patches of 2 pixels
COLOURS = [  # red, green, blue in [0, 1] and 64 x bin + 8 x bin + bin, eighths
    (0.0, 0.0, 0.0, 0),
    (1.0, 1.0, 1.0, 511),
    (1.0, 0.0, 0.0, 7 * 64),
    (0.0, 1.0, 0.0, 7 * 8),
    (0.0, 0.0, 1.0, 7),
    (0.125, 0.0, 0.0, 64),  # on the edge: the upper bin
    (0.5, 0.5, 0.5, 4 * 64 + 4 * 8 + 4),
    (0.49, 0.51, 0.99, 3 * 64 + 4 * 8 + 7),
    (0.2, 0.4, 0.6, 1 * 64 + 3 * 8 + 4),
    (0.124, 0.126, 0.875, 0 * 64 + 1 * 8 + 7),
]


def mpp(spec=GREY, encoder=None, seen=True, **settings) -> MaskedPatchPrediction:
    """With a head that is not zero where `seen`, so that logits depend on the input."""
    objective = MaskedPatchPrediction(
        encoder or small_vit(spec), spec, **grouped(MaskedPatchPrediction, **settings)
    )
    if seen:
        torch.nn.init.normal_(objective.head.weight)
    return objective


def flat(colour: list[float], spec: DataSpec) -> Tensor:
    """One normalised image of a single colour."""
    return normalise(torch.tensor(colour).view(1, -1, 1, 1).expand(1, -1, *spec.image_size), spec)


def eye(batch: Batch, patches: int, width: int = 4) -> Tensor:
    """Embeddings that say which patch they are: B N D, all numbers different."""
    ids = torch.arange(len(batch) * patches).view(len(batch), patches, 1)
    return (ids + 1.0).expand(-1, -1, width)


# ---- colours --------------------------------------------------------------------------------


@pytest.mark.parametrize(("red", "green", "blue", "label"), COLOURS)
def test_the_label_of_a_flat_colour_is_the_one_worked_out_by_hand(red, green, blue, label):
    labels = mpp(RGB).colour_classes(flat([red, green, blue], RGB))
    assert labels[..., 0].tolist() == [[label] * 64]


def test_every_grey_level_falls_into_the_bin_of_integer_arithmetic():
    objective = mpp()
    for level in range(256):
        label = objective.colour_classes(flat([level / 255], GREY))[0, 0, 0].item()
        assert label == min(8 * level // 255, 7), level


def test_the_mean_comes_before_the_bins():
    board = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).repeat(4, 4)[None, None]
    assert mpp().colour_classes(normalise(board, GREY)).unique().tolist() == [4]  # of bins: 3.5


def test_labels_stand_in_raster_order():
    image = torch.zeros(1, 1, 8, 8)
    image[..., 2:4, 6:8] = 1  # second row, last column of a 4 x 4 grid
    assert mpp().colour_classes(normalise(image, GREY)).nonzero().tolist() == [[0, 7, 0]]


def test_a_predicted_colour_lies_in_the_middle_of_its_bin():
    objective = mpp(RGB)
    middle = objective.dequantise(torch.tensor([[0, 511, 1 * 64 + 3 * 8 + 4]]))[0]
    expected = [[1 / 16] * 3, [15 / 16] * 3, [3 / 16, 7 / 16, 9 / 16]]
    assert middle.tolist() == expected


# ---- what is corrupted ----------------------------------------------------------------------


def test_exactly_half_of_the_patches_are_corrupted_and_not_the_same_ones():
    places = mpp().places(batch_of(count=8), 16)
    assert [len(set(row)) for row in places.tolist()] == [8] * 8
    assert len({tuple(sorted(row)) for row in places.tolist()}) == 8


def test_eighty_ten_ten_over_two_hundred_thousand_patches():
    objective = mpp(WIDE, small_vit(WIDE, width=4, depth=1, heads=1))
    batch = batch_of(WIDE, count=2048)
    before, places = eye(batch, 196), objective.places(batch, 196)
    after = objective.corrupt(before, batch, places).detach()
    fates = after.gather(1, places[..., None].expand(-1, -1, 4))
    masked = (fates == objective.mask_token).all(-1)
    kept = fates[..., 0] == before[..., 0].gather(1, places)
    total = places.numel()  # 200,704: four deviations of a binomial are 0.0036 and 0.0027
    assert masked.sum().item() / total == pytest.approx(0.8, abs=0.0036)
    assert kept.sum().item() / total == pytest.approx(0.1, abs=0.0027)
    assert (~masked & ~kept).sum().item() / total == pytest.approx(0.1, abs=0.0027)


def test_patches_that_were_not_chosen_are_left_alone():
    objective, batch = mpp(), batch_of()
    places, before = objective.places(batch, 16), eye(batch, 16, 32)
    changed = (objective.corrupt(before, batch, places) != before).any(-1)
    chosen = torch.zeros(4, 16, dtype=torch.bool).scatter(1, places, True)
    assert not (changed & ~chosen).any()


@pytest.mark.parametrize(("partner", "pool"), [("image", 5), ("batch", 15)])
def test_a_partner_is_any_other_patch_and_never_the_patch_itself(partner, pool):
    objective, batch = mpp(partner=partner), batch_of(count=3)
    ids = eye(batch, 5, 1)
    draws = (torch.arange(pool - 1) + 0.5) / (pool - 1)  # one in the middle of each share
    for place in range(5):
        places = torch.full((3, pool - 1), place)
        found = objective.partners(ids, places, draws.expand(3, -1), 5, batch)[..., 0]
        for row in range(3):
            own = set(range(5 * row, 5 * row + 5)) if partner == "image" else set(range(15))
            assert {int(i) - 1 for i in found[row]} == own - {5 * row + place}


def test_the_largest_draw_still_finds_a_partner():
    ids = eye(batch_of(count=3), 5, 1)
    draws, last = torch.full((3, 1), 1 - 2.0**-24), torch.full((3, 1), 4)
    found = mpp().partners(ids, last, draws, 5, batch_of(count=3))[..., 0]
    assert found.flatten().tolist() == [15, 15, 14]  # ids start at 1; the last leaves itself out


def test_evaluation_takes_partners_from_the_same_image():
    objective, batch = mpp(masked=0.0, replaced=1.0), batch_of(count=16, epoch=None)
    after = objective.corrupt(eye(batch, 16, 32), batch, objective.places(batch, 16))
    assert torch.equal((after[..., 0] - 1) // 16, torch.arange(16.0)[:, None].expand(-1, 16))


def test_training_takes_partners_from_the_whole_batch():
    objective, batch = mpp(masked=0.0, replaced=1.0), batch_of(count=16)
    after = objective.corrupt(eye(batch, 16, 32), batch, objective.places(batch, 16))
    foreign = (after[..., 0] - 1) // 16 != torch.arange(16.0)[:, None]
    assert foreign.sum() > 100  # of 128 corrupted, 15 of 16 partners stand in another image


def test_partners_come_from_everywhere_though_one_draw_in_ten_is_replaced():
    objective = mpp(WIDE, small_vit(WIDE, width=4, depth=1, heads=1))
    batch = batch_of(WIDE, count=256)
    before = eye(batch, 196)
    after = objective.corrupt(before, batch, objective.places(batch, 196)).detach()
    other = (after > 1) & (after != before)  # some 2,500; the mask token is near 0
    share = after[other] / before.max()
    assert share.mean().item() == pytest.approx(0.5, abs=0.024)  # four deviations
    assert share.min() < 0.01 < 0.99 < share.max()


def test_an_image_is_corrupted_alike_in_any_batch():
    objective, batch = mpp(), batch_of(count=4, epoch=None)
    alone = Batch([batch.images[2:3]], batch.labels[2:3], batch.index[2:3], epoch=None)
    places, patches = objective.places(batch, 16), objective.encoder.embed(batch.images)
    assert torch.equal(objective.places(alone, 16), places[2:3])
    together = objective.corrupt(patches, batch, places)[2:3]
    assert torch.equal(objective.corrupt(patches[2:3], alone, places[2:3]), together)


def test_epochs_are_corrupted_differently_and_evaluations_alike():
    objective = mpp()
    first, second = (objective.places(batch_of(epoch=epoch), 16) for epoch in (0, 1))
    assert not torch.equal(first, second)
    again = [objective.places(batch_of(epoch=None), 16) for _ in range(2)]
    assert torch.equal(*again)


def test_the_embedding_is_replaced_before_the_position_is_added(monkeypatch):
    objective, batch, met = mpp(masked=1.0, replaced=0.0), batch_of(), []
    honest = objective.encoder.add_position
    monkeypatch.setattr(objective.encoder, "add_position", lambda x: met.append(x) or honest(x))
    places = objective.places(batch, 16)
    objective.predict_corrupted(batch, places)
    hidden = torch.zeros(4, 16, dtype=torch.bool).scatter(1, places, True)
    assert (met[0][hidden] == objective.mask_token).all()
    assert torch.equal(met[0][~hidden], objective.encoder.embed(batch.images)[~hidden])


# ---- the loss -------------------------------------------------------------------------------


@pytest.mark.parametrize(("spec", "classes"), [(RGB, 512), (GREY, 8)])
def test_the_loss_starts_at_the_log_of_the_colours(spec, classes):
    loss = mpp(spec, seen=False)(batch_of(spec), 0.0).loss
    assert loss.item() == pytest.approx(log(classes), rel=1e-6)


def test_the_loss_is_the_cross_entropy_of_each_corrupted_patch_with_its_own_colour():
    encoder = small_vit(registers=2)
    objective, batch = mpp(encoder=encoder, masked=0.0, replaced=0.0), batch_of()  # all kept
    tokens = encoder(batch.images).tokens
    scores = log_softmax(objective.head(objective.norm(tokens)).detach().double().numpy(), axis=-1)
    labels, places = objective.colour_classes(batch.images)[..., 0], objective.places(batch, 16)
    found = [-scores[b, n, labels[b, n]] for b in range(4) for n in places[b].tolist()]
    losses = objective(batch, 0.0)
    assert losses.loss.item() == pytest.approx(sum(found) / 32, rel=1e-5)
    per_image = [sum(found[start : start + 8]) / 8 for start in (0, 8, 16, 24)]
    assert losses.per_image["loss"].tolist() == pytest.approx(per_image, rel=1e-5)


def test_the_loss_counts_kept_patches_too(monkeypatch):
    objective, batch = mpp(masked=0.3, replaced=0.3), batch_of()
    honest, found = objective.predict_corrupted, []

    def watched(*inputs):
        found.append(honest(*inputs))
        found[0].retain_grad()
        return found[0]

    monkeypatch.setattr(objective, "predict_corrupted", watched)
    objective(batch, 0.0).loss.backward()
    assert found[0].shape == (4, 8, 8)
    assert found[0].grad.abs().amax(-1).min() > 0


def felt(objective: MaskedPatchPrediction, batch: Batch) -> tuple[Tensor, Tensor]:
    """How strongly the loss feels visible and hidden patches' pixels."""
    batch.images.requires_grad_()
    objective(batch, 0.0).loss.backward()
    strength = patchify(batch.images.grad, 2).abs().amax(-1)
    places = objective.places(batch, 16)
    hidden = torch.zeros(strength.shape, dtype=torch.bool).scatter(1, places, True)
    return strength[~hidden], strength[hidden]


def test_the_loss_cannot_see_pixels_of_masked_patches():
    visible, hidden = felt(mpp(masked=1.0, replaced=0.0), batch_of())
    assert visible.min() > 0
    assert hidden.max() == 0


def test_a_leak_of_hidden_pixels_would_be_noticed(monkeypatch):
    def leaky(self, patches, batch, places):
        return patches

    monkeypatch.setattr(MaskedPatchPrediction, "corrupt", leaky)
    with pytest.raises(AssertionError):
        test_the_loss_cannot_see_pixels_of_masked_patches()


def test_an_image_of_one_patch_is_refused_instead_of_a_loss_of_nan():
    with pytest.raises(ValueError, match="MaskedPatchPrediction"):
        mpp(encoder=small_vit(patch_size=8))


# ---- what is reported -----------------------------------------------------------------------


def test_the_summary_says_what_guessing_would_reach():
    histogram = torch.tensor([0.5, 0.25, 0.25, 0, 0, 0, 0, 0], dtype=torch.float64)
    summary = mpp().summary({"loss": torch.tensor(1.0), "histogram": histogram})
    assert set(summary) == {"loss", "marginal_entropy", "always_most_common"}
    assert summary["marginal_entropy"].item() == pytest.approx(1.5 * log(2))
    assert summary["always_most_common"].item() == 0.5


def test_the_histogram_counts_the_corrupted_patches_colours():
    objective, batch = mpp().eval(), batch_of(epoch=None)
    labels = objective.colour_classes(batch.images)[..., 0].gather(1, objective.places(batch, 16))
    expected = [[row.tolist().count(colour) / 8 for colour in range(8)] for row in labels]
    assert objective(batch, 0.0).per_image["histogram"].tolist() == expected


def test_training_carries_no_histogram():
    assert set(mpp().train()(batch_of(), 0.0).per_image) == {"loss", "accuracy"}


@pytest.mark.parametrize("spec", [GREY, RGB])
def test_pictures_show_images_between_zero_and_one(spec):
    shown = torch.rand(3, spec.channels, *spec.image_size)
    batch = Batch([normalise(shown, spec)], torch.zeros(3).long(), torch.arange(3))
    pictures = mpp(spec).eval().pictures(batch)
    assert set(pictures) == {"input", "corrupted", "predicted"}
    torch.testing.assert_close(pictures["input"], shown)
    for picture in pictures.values():
        assert picture.shape == shown.shape
        assert -1e-6 < picture.min() < picture.max() < 1 + 1e-6


def test_pictures_grey_the_corrupted_patches_and_no_other():
    objective, batch = mpp().eval(), batch_of(epoch=None)
    pictures = {name: patchify(p, 2) for name, p in objective.pictures(batch).items()}
    hidden = torch.zeros(4, 16, dtype=torch.bool).scatter(1, objective.places(batch, 16), True)
    assert (pictures["corrupted"][hidden] == 0.5).all()
    for name in ("corrupted", "predicted"):
        assert torch.equal(pictures[name][~hidden], pictures["input"][~hidden])


def test_thirty_steps_on_one_batch_of_digits_beat_guessing():
    data = Digits().open("train")
    images = normalise(data.images[:64].float() / 255, GREY)
    batch = Batch([images], data.labels[:64], torch.arange(64), epoch=0)
    objective = mpp(seen=False)
    optimizer = torch.optim.AdamW(objective.parameters(), lr=3e-3)
    for _ in range(30):
        optimizer.zero_grad()
        losses = objective(batch, 0.0)
        losses.loss.backward()
        optimizer.step()
    share = objective.colour_classes(images).flatten().bincount().double() / (64 * 16)
    assert losses.loss < -(share * share.clamp(min=1e-9).log()).sum() - 0.1


# ---- errors ---------------------------------------------------------------------------------


def test_an_encoder_without_tokens_is_refused_in_one_line(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # would refuse it first
    with pytest.raises(ValueError, match="needs a TokenEncoder, got a ResNet") as error:
        MaskedPatchPrediction(ResNet(GREY), GREY)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"ratio": 0.0}, r"Corruption: ratio must be in \(0, 1\), got 0.0"),
        ({"ratio": 1.0}, r"Corruption: ratio must be in \(0, 1\), got 1.0"),
        ({"masked": 0.95}, "at most 1, got 0.95 and 0.1"),
        ({"replaced": -0.1}, "at most 1, got 0.8 and -0.1"),
        ({"bins": 1}, "1 bins on 3 channels make 1 colours"),
        ({"bins": 64}, "64 bins on 3 channels make 262144 colours"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        mpp(RGB, **settings)


# ---- the paper's other targets --------------------------------------------------------------

FOUR = DataSpec(("a", "b"), (16, 16), 3, (0.5,) * 3, (0.5,) * 3)


def of_fours(target: str, **settings) -> MaskedPatchPrediction:
    """Sixteen patches of 4 px."""
    return mpp(FOUR, small_vit(FOUR, patch_size=4), target=target, **settings)


def test_sixteen_colours_of_a_patch_are_those_of_its_pixels_in_raster_order():
    objective = of_fours("4x4_colours")
    shown = torch.rand(2, 3, 16, 16)
    labels = objective.colour_classes(normalise(shown, FOUR))  # of 4 px each cell is a pixel
    for image, row, column in ((0, 0, 0), (1, 5, 14), (0, 15, 3)):
        red, green, blue = (min(int(8 * x), 7) for x in shown[image, :, row, column].tolist())
        patch, cell = row // 4 * 4 + column // 4, row % 4 * 4 + column % 4
        assert labels[image, patch, cell].item() == red * 64 + green * 8 + blue


def test_sixteen_colours_cost_the_mean_of_sixteen_cross_entropies():
    objective, batch = of_fours("4x4_colours"), batch_of(FOUR)
    places = objective.places(batch, 16)
    logits = (
        objective.predict_corrupted(batch, places).detach().double().numpy().reshape(4, 8, 16, 512)
    )
    scores = log_softmax(logits, axis=-1)
    labels = objective.colour_classes(batch.images)
    costs = [[-scores[b, k, s, labels[b, n, s]] for k, n in enumerate(places[b].tolist())
              for s in range(16)] for b in range(4)]  # fmt: skip
    expected = [sum(row) / 128 for row in costs]
    assert objective(batch, 0.0).per_image["loss"].tolist() == pytest.approx(expected, rel=1e-5)


def test_pixels_are_regressed_by_least_squares():
    objective, batch = of_fours("pixels"), batch_of(FOUR)
    places = objective.places(batch, 16)
    said = objective.predict_corrupted(batch, places)
    wanted = patchify(batch.images, 4).gather(1, places[..., None].expand(-1, -1, 48))
    criterion = torch.nn.MSELoss()
    assert objective(batch, 0.0).loss.item() == pytest.approx(criterion(said, wanted).item())
    assert objective.trivial_baseline == ("val/explained", "val/explained_by_neighbours")


def test_the_pixels_summary_says_what_guessing_explains():
    objective, batch = of_fours("pixels").eval(), batch_of(FOUR, epoch=None)
    means = {k: v.mean() for k, v in objective(batch, 1.0).per_image.items()}
    summary = objective.summary(means)
    assert set(summary) == {"loss", "explained", "explained_by_neighbours"}
    smooth = Batch([torch.linspace(-1, 1, 16).expand(4, 3, 16, 16).clone()], batch.labels,
                   batch.index)  # fmt: skip
    means = {k: v.mean() for k, v in objective(smooth, 1.0).per_image.items()}
    assert objective.summary(means)["explained_by_neighbours"] > 0.5


def test_neighbours_of_one_colour_tell_every_patch():
    objective = mpp(RGB).eval()
    batch = Batch([flat([0.2, 0.4, 0.6], RGB)], torch.tensor([0]), torch.tensor([0]))
    assert objective(batch, 0.0).per_image["from_neighbours"].tolist() == [1.0]


@pytest.mark.parametrize("target", ["4x4_colours", "pixels"])
def test_pictures_of_other_targets_stay_between_zero_and_one(target):
    pictures = of_fours(target).eval().pictures(batch_of(FOUR))
    assert all(p[p.isfinite()].clamp(0, 1).min() >= 0 for p in pictures.values())
    assert pictures["predicted"].shape == (4, 3, 16, 16)


def test_corrupted_blocks_are_as_many_as_single_patches():
    objective = mpp(WIDE, small_vit(WIDE, patch_size=2), shape="block")
    places = objective.places(batch_of(WIDE, count=8), 196)
    assert [len(set(row)) for row in places.tolist()] == [98] * 8


def test_a_patch_without_4x4_colours_is_refused():
    with pytest.raises(ValueError, match="a patch of 2 px has no 4x4 colours"):
        mpp(target="4x4_colours")
