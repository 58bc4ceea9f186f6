"""RankMe by hand: the effective rank of known singular values."""

import math

import pytest
import torch

from vit.evaluate.rankme import rankme


def test_orthogonal_directions_of_equal_length_all_count():
    assert rankme(torch.eye(8)) == pytest.approx(8, rel=1e-4)


def test_features_on_one_line_have_rank_one():
    line = torch.arange(1.0, 9)[:, None] * torch.tensor([[1.0, 2.0, -1.0]])
    assert rankme(line) == pytest.approx(1, abs=1e-4)


def test_unequal_singular_values_count_by_their_entropy():
    found = rankme(torch.diag(torch.tensor([3.0, 1.0])))
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert found == pytest.approx(math.exp(entropy), rel=1e-5)
