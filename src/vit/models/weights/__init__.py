"""Weights in: this project's checkpoints and everyone's released encoders, one file a format."""

from vit.models.weights.checkpoint import FORMAT, checkpoint_in, open_checkpoint
from vit.models.weights.recognise import stored_encoder
from vit.models.weights.stored import Stored, adapt_positions, describe, load_into

__all__ = [
    "FORMAT",
    "Stored",
    "adapt_positions",
    "checkpoint_in",
    "describe",
    "load_into",
    "open_checkpoint",
    "stored_encoder",
]
