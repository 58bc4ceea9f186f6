"""What `export --to safetensors` wrote: a file whose header says all that rebuilds its encoder."""

import json
from typing import Any

from vit.batch import DataSpec
from vit.models.prefixes import tensors_below
from vit.models.weights.card import Card
from vit.models.weights.released import WeightsFile
from vit.models.weights.stored import Stored

KEY = "vit"  # of the description, in the header's metadata
HEAD = "head."  # begins the names of the classifier's tensors


def is_exported(file: WeightsFile) -> bool:
    """Did this project write it?"""
    return KEY in file.about


def stored_in_export(file: WeightsFile) -> Stored:
    """The encoder and the classifier of an export.

    Raises:
        ValueError: its description is damaged.
    """
    try:
        about: dict[str, Any] = json.loads(file.about[KEY])
        encoder, grid = about["encoder"], about["encoder"]["grid"]
        spec = DataSpec.from_dict(encoder["spec"])
        if grid is not None and not all(type(side) is int and side > 0 for side in grid):
            raise ValueError(f"grid {grid}")
        kind, settings = str(encoder["class_path"]), dict(encoder["settings"])
        shown = dict(about["preprocessing"])
        card = Card(**(about["card"] | {"classes": tuple(about["card"]["classes"])}))
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(f"weights: {file.path} is a damaged export ({error})") from error
    weights = {name: file.tensors[name] for name in file.tensors}
    return Stored(
        path=file.path,
        class_path=kind,
        settings=settings,
        spec=spec,
        grid=tuple(grid) if grid else None,
        state={name: tensor for name, tensor in weights.items() if not name.startswith(HEAD)},
        classifier=tensors_below(weights, HEAD),
        lineage=(card.link(),),
        preprocessing=shown,
    )
