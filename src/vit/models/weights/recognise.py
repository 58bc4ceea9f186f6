"""What a path or a name holds: a run, a checkpoint of ours, or somebody's released encoder."""

from pathlib import Path

from vit.models.weights.checkpoint import checkpoint_in, encoder_in
from vit.models.weights.stored import Stored


def stored_encoder(path: str | Path, average: bool = True) -> Stored:
    """The encoder that a path holds, whatever objective trained it.

    Args:
        path: of a run folder or a checkpoint.
        average: its averaged weights, where a run of this project kept some.
    """
    return encoder_in(checkpoint_in(Path(path)), average)
