"""Small models of other people's libraries, and what ours must make of their files."""

from pathlib import Path

import torch
from torch import Tensor, nn

from vit.models import ViT
from vit.models.weights import load_into, stored_encoder
from vit.models.weights.stored import Stored


def shaken(module: nn.Module) -> nn.Module:
    """Every parameter moved, so that no zero or one hides a mistake; in eval mode."""
    torch.manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return module.eval()


def loaded(path: Path) -> tuple[ViT, Stored]:
    """Our encoder with the weights of a file, at the file's own size."""
    stored = stored_encoder(path)
    encoder = stored.build(stored.spec)
    report = load_into(encoder, stored, stored.spec.channels)
    assert "100 % of the encoder" in report
    return encoder.eval(), stored


def pictures(height: int, width: int, count: int = 2) -> Tensor:
    """Random normalised images."""
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(2))


def close(found: Tensor, expected: Tensor, most: float = 1e-5) -> None:
    """Equal to 1e-5, which is what float32 allows over so few blocks."""
    torch.testing.assert_close(found, expected, atol=most, rtol=0)


def logits(encoder: nn.Module, stored: Stored, images: Tensor) -> Tensor:
    """What the file's own classifier says of what our encoder sees."""
    pooled = encoder(images).pooled
    return nn.functional.linear(pooled, stored.classifier["weight"], stored.classifier["bias"])
