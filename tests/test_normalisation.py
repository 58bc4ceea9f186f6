"""Constants are made once a device and serve training after an evaluation."""

import torch

from vit.data.normalisation import constant


def test_one_tensor_for_equal_numbers():
    device = torch.device("cpu")
    first = constant((0.25, 0.5), device)
    assert first.shape == (1, 2, 1, 1)
    assert first.flatten().tolist() == [0.25, 0.5]
    assert constant((0.25, 0.5), device) is first


def test_made_in_inference_it_takes_part_in_a_gradient():
    with torch.inference_mode():
        scale = constant((2.0, 3.0), torch.device("cpu"))
    images = torch.ones(1, 2, 1, 1, requires_grad=True)
    (images * scale).sum().backward()
    assert images.grad.flatten().tolist() == [2.0, 3.0]
