"""Encoders: what is pre-trained, kept and fine-tuned."""

from vit.models.base import Encoder, Features, TokenEncoder
from vit.models.resnet import ResNet
from vit.models.vit import ViT

__all__ = ["Encoder", "Features", "ResNet", "TokenEncoder", "ViT"]
