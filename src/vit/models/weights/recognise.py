"""What a path or a name holds: a run, a checkpoint of ours, or somebody's released encoder."""

from pathlib import Path

from vit.models.weights.architecture import stored_from
from vit.models.weights.checkpoint import ForeignError, checkpoint_in, encoder_in
from vit.models.weights.exported import is_exported, stored_in_export
from vit.models.weights.facebook_files import from_facebook, is_facebook
from vit.models.weights.fetch import is_published_name, weights_by_name
from vit.models.weights.google_files import from_google, is_google
from vit.models.weights.graph_export import refuse_graph
from vit.models.weights.huggingface import from_huggingface, is_huggingface
from vit.models.weights.onnx_graph import from_graph, is_graph
from vit.models.weights.opening import open_weights, weights_in
from vit.models.weights.released import ReleasedFormat, WeightsFile
from vit.models.weights.stored import Stored
from vit.models.weights.timm_files import from_timm, is_timm
from vit.models.weights.torchvision_files import from_torchvision, is_torchvision

FORMATS = (  # the first that recognises a file converts it
    ReleasedFormat("ONNX", is_graph, from_graph),
    ReleasedFormat("Google .npz", is_google, from_google),
    ReleasedFormat("torchvision", is_torchvision, from_torchvision),
    ReleasedFormat("Facebook .pth", is_facebook, from_facebook),
    ReleasedFormat("timm", is_timm, from_timm),
    ReleasedFormat("Hugging Face", is_huggingface, from_huggingface),
)


def stored_encoder(path: str | Path, average: bool = True) -> Stored:
    """The encoder that a path holds, whatever trained it and whoever wrote it.

    Args:
        path: of a run folder, a checkpoint, or a file or folder of released weights; or a name,
            as in timm:vit_small_patch16_224.augreg_in21k, hf:facebook/dinov2-small or
            torchvision:vit_b_16.
        average: its averaged weights, where a run of this project kept some.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is damaged, of no known format, or lacks part of an encoder.
    """
    path = weights_by_name(str(path)) if is_published_name(path) else Path(path)
    folder = path.is_dir() and weights_in(path) is not None
    if not folder and (path.suffix == ".ckpt" or not path.is_file()):
        try:
            return encoder_in(checkpoint_in(path), average)
        except ForeignError:  # Lightning's checkpoints of others
            pass
    refuse_graph(path)
    file = open_weights(path)
    if {"format", "encoder", "global_step"} <= file.about.keys():
        return encoder_in(path, average)
    if is_exported(file):
        return stored_in_export(file)
    return stored_from(file, format_of(file).convert(file))


def format_of(file: WeightsFile) -> ReleasedFormat:
    """The format that a file is written in.

    Raises:
        ValueError: it is none that is known; what the file holds is listed.
    """
    for known in FORMATS:
        if known.recognises(file):
            return known
    names = ", ".join(list(file.tensors)[:3])
    raise ValueError(
        f"pretrained: {file.path} holds {len(file.tensors)} tensors ({names}, ...), which are no "
        f"Vision Transformer by names that are known here: a run of this project, "
        f"{', '.join(known.name for known in FORMATS)} (docs/weights.md)"
    )
