"""Heads start where their papers say and compute what their formula says."""

import numpy as np
import pytest
import scipy.special
import torch

from vit.objectives.parts.heads import LinearHead, Projection, PrototypeHead


def prototype_head() -> PrototypeHead:
    """Five prototypes; every parameter, the biases too, moved away from its start."""
    torch.manual_seed(0)
    head = PrototypeHead(8, Projection(prototypes=5, hidden_width=16, bottleneck=4))
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter))
    return head


def test_a_linear_head_starts_at_zero():
    head = LinearHead(8, 3)
    assert head(torch.randn(2, 8)).abs().max() == 0


def test_a_linear_head_starts_at_the_asked_bias():
    assert LinearHead(8, 3, bias_start=-10.0)(torch.randn(2, 8)).tolist() == [[-10.0] * 3] * 2


def test_a_linear_head_resets_to_its_own_start():
    head = LinearHead(8, 3, bias_start=-10.0)
    torch.nn.init.ones_(head.bias)
    head.reset_parameters()
    assert head.bias.tolist() == [-10.0] * 3


def test_a_linear_head_is_a_matrix_and_a_bias():
    head, features = LinearHead(2, 2), torch.tensor([[1.0, 2.0]])
    head.load_state_dict({"weight": torch.tensor([[1.0, 3], [0, 1]]), "bias": torch.ones(2)})
    assert head(features).tolist() == [[8.0, 3.0]]


def test_prototype_logits_are_cosines():
    logits = prototype_head()(100 * torch.randn(64, 8))
    assert logits.abs().max() <= 1 + 1e-6
    assert logits.abs().max() > 0.9  # and not merely small


def test_a_prototype_scores_one_on_itself():
    head = prototype_head()
    features = torch.randn(1, 8)
    with torch.no_grad():
        head.prototypes[2] = 7 * head.mlp(features)[0]
    assert head(features)[0, 2].item() == pytest.approx(1, abs=1e-6)


def test_prototype_logits_are_those_of_numpy():
    head, features = prototype_head(), torch.randn(6, 8)
    state = {key: value.double().numpy() for key, value in head.state_dict().items()}
    x = features.double().numpy()
    for layer in (0, 2, 4):
        x = x @ state[f"mlp.{layer}.weight"].T + state[f"mlp.{layer}.bias"]
        x = x if layer == 4 else x * scipy.special.ndtr(x)  # exact GELU
    rows = state["prototypes"]
    norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(rows, axis=1)
    np.testing.assert_allclose(head(features).detach().numpy(), x @ rows.T / norms, atol=1e-6)


def test_the_projection_starts_as_in_the_released_dino():
    torch.manual_seed(0)
    head = PrototypeHead(64, Projection(prototypes=256, hidden_width=128, bottleneck=64))
    for layer in head.mlp[::2]:
        assert layer.weight.std().item() == pytest.approx(0.02, rel=0.05)
        assert layer.bias.abs().max() == 0
    assert head.prototypes.std().item() == pytest.approx((1 / 3 / 64) ** 0.5, rel=0.05)
    assert head.prototypes.abs().max() <= 1 / 8  # nn.Linear's bound, 1 / sqrt(64)
