"""The attentive probe against torch's attention, and what only attention can see."""

from functools import cache

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from builders import GREY, small_vit
from vit.evaluate import attentive as module
from vit.evaluate.attentive import attentive
from vit.evaluate.base import FrozenFeatures, Task
from vit.evaluate.linear import linear

CLASSES, WIDTH, PATCHES = 5, 64, 36


@cache
def hidden() -> Task:
    """The class stands in one patch at a random place; the others are noise."""
    code = torch.randn(CLASSES + 1, WIDTH, generator=torch.Generator().manual_seed(99))

    def split(seed: int, count: int) -> FrozenFeatures:
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randn(count, PATCHES, WIDTH, generator=generator)
        labels = torch.randint(0, CLASSES, (count,), generator=generator)
        place = torch.randint(0, PATCHES, (count,), generator=generator)
        tokens[torch.arange(count), place] += code[labels] + code[-1]  # the last: "look here"
        return FrozenFeatures({"mean": tokens.mean(1)}, labels, tokens.half())

    return Task(split(0, 450), split(1, 100), split(2, 450), CLASSES)


def test_it_finds_a_class_that_stands_in_one_patch_and_the_mean_does_not():
    assert attentive(hidden(), steps=200).metrics["accuracy"] > 0.95
    assert linear(hidden()).metrics["accuracy"] < 0.8


def attend(weights: list[Tensor], tokens: Tensor) -> Tensor:
    """One head's logits with keys and values formed, by torch's attention."""
    query, key, value, classifier, bias = weights
    keys = torch.einsum("bnd,akd->bank", tokens, key)
    values = torch.einsum("bnd,adk->bank", tokens, value)
    asked = query[None, :, None].expand(len(tokens), -1, -1, -1)
    seen = F.scaled_dot_product_attention(asked, keys, values).flatten(1)
    return F.layer_norm(seen, seen.shape[-1:]) @ classifier + bias


def test_no_key_or_value_is_formed_and_the_function_is_the_same():
    generator = torch.Generator().manual_seed(0)
    shapes = [(3, 4, 5), (3, 4, 5, 20), (3, 4, 20, 5), (3, 20, 7), (3, 7)]  # three heads
    weights = [torch.randn(shape, generator=generator) for shape in shapes]
    tokens = torch.randn(6, 9, 20, generator=generator)
    ours = module._forward(weights, tokens, torch.stack([torch.zeros(20), torch.ones(20)]))
    for head in range(3):
        theirs = attend([weight[head] for weight in weights], tokens)
        torch.testing.assert_close(ours[head], theirs, atol=1e-4, rtol=1e-4)


def test_statistics_are_those_of_all_patches_of_all_images():
    tokens = hidden().train.tokens
    mean, deviation = module._statistics(tokens, 64)
    every = tokens.double().flatten(0, 1)
    torch.testing.assert_close(mean.double(), every.mean(0), atol=1e-6, rtol=1e-5)
    expected = (every.var(0, correction=0) + 1e-6).sqrt()
    torch.testing.assert_close(deviation.double(), expected, atol=1e-6, rtol=1e-5)


def test_a_head_learns_as_if_it_were_alone():
    task = hidden()
    standard = module._statistics(task.train.tokens, 64)
    with torch.no_grad():
        both, alone = (
            module._train_attention(task, standard, lrs, 20, 100, 8)
            for lrs in ([0.003, 0.03], [0.03])
        )
    for several, one in zip(both, alone, strict=True):
        torch.testing.assert_close(several[1], one[0], atol=1e-4, rtol=1e-3)
        assert not torch.allclose(several[0], several[1], atol=1e-2)


def test_the_encoder_never_gets_a_gradient():
    encoder = small_vit()
    tokens = encoder(torch.randn(12, GREY.channels, *GREY.image_size)).tokens
    assert tokens.requires_grad
    split = FrozenFeatures({"mean": tokens.mean(1)}, torch.arange(12) % 3, tokens)
    result = attentive(Task(split, split, split, 3), steps=30)
    assert result.metrics["accuracy"] > 0.9  # it did learn
    with torch.no_grad():
        weights = module._train_attention(
            Task(split, split, split, 3), torch.ones(2, 32), [0.01], 1, 9, 4
        )
    module._forward(weights, tokens, torch.ones(2, 32)).square().sum().backward()
    assert weights[0].grad is not None
    assert all(parameter.grad is None for parameter in encoder.parameters())


def test_a_caller_without_gradients_gets_the_same():
    outside = attentive(hidden(), steps=20)
    with torch.no_grad():
        inside = attentive(hidden(), steps=20)
    assert torch.equal(outside.per_image["correct"], inside.per_image["correct"])


def test_the_rate_is_chosen_on_the_choice():
    task = hidden()
    result = attentive(task, lrs=(1e-9, 0.01), steps=100)
    assert result.notes == {"lr": 0.01, "edge": True}
    order = torch.arange(CLASSES).roll(1)  # there the learned answers are all wrong
    wrong = FrozenFeatures(task.choice.pooled, order[task.choice.labels], task.choice.tokens)
    assert attentive(task._replace(choice=wrong), lrs=(1e-9, 0.01), steps=100).notes["lr"] == 1e-9


def test_the_same_seed_gives_the_same_and_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    first, second, other = (attentive(hidden()._replace(seed=s), steps=2) for s in (0, 0, 1))
    assert torch.equal(first.per_image["correct"], second.per_image["correct"])
    assert not torch.equal(first.per_image["correct"], other.per_image["correct"])
    assert first.id == other.id
    assert torch.equal(torch.get_rng_state(), before)


def test_every_setting_changes_the_id():
    changes = [{}, {"lrs": (0.1,)}, {"steps": 2}, {"batch": 9}, {"heads": 4}]
    names = [attentive(hidden(), **({"steps": 1} | change)).id for change in changes]
    assert len(set(names)) == 5


def test_an_encoder_without_patches_is_told_so():
    split = FrozenFeatures({"pooled": torch.zeros(4, 8)}, torch.zeros(4, dtype=torch.long))
    with pytest.raises(ValueError, match="attentive: this encoder has no patch tokens; "):
        attentive(Task(split, split, split, 2))


@pytest.mark.parametrize(
    "settings", [{"lrs": ()}, {"steps": 0}, {"batch": 0}, {"heads": 0}, {"heads": 65}]
)
def test_a_wrong_setting_is_named(settings):
    with pytest.raises(ValueError, match=r"attentive: .* got"):
        attentive(hidden(), **settings)
