"""A contact sheet: some images as evaluation shows them, and what training makes of each."""

import warnings
from pathlib import Path

import torch
from torch import Tensor

from vit.batch import Batch, LoaderContext
from vit.data.base import Images
from vit.data.sampling import BatchIndices

IMAGES, AUGMENTED = 8, 5
ALONE = LoaderContext()


def write_contact_sheet(data: Images, path: Path) -> tuple[tuple[str, str], ...]:
    """Write a PNG: a row per image of the training split, evenly chosen, named by its class.

    Args:
        data: prepared.
        path: where.

    Returns:
        of the chosen images those that cannot be read and have no row: name and reason.

    Raises:
        ValueError: none of them can be read.
    """
    from matplotlib.figure import Figure  # slow to load, and only needed here

    count = len(data.open("train"))
    chosen = [round(i * (count - 1) / max(IMAGES - 1, 1)) for i in range(min(IMAGES, count))]
    # elsewhere an unreadable image's row may show another one
    read = data.dataset("train", ALONE, False)[BatchIndices(None, chosen)]
    chosen = [
        place for place, number in zip(chosen, read.index.tolist(), strict=True) if number >= 0
    ]
    if not chosen:
        raise ValueError(f"prepare --show: {read.unread[0][0]} {read.unread[0][1]}, as all others")
    columns = [view(data, chosen, None), *(view(data, chosen, e) for e in range(AUGMENTED))]
    figure = Figure((1.6 * len(columns), 1.7 * len(chosen)), dpi=100, layout="constrained")
    grid = figure.subplots(len(chosen), len(columns), squeeze=False)
    for row, cells in enumerate(grid):
        for column, (cell, batch) in enumerate(zip(cells, columns, strict=True)):
            cell.imshow(displayable(batch.images[row], data).numpy(), cmap="gray", vmin=0, vmax=1)
            cell.set_axis_off()
            if not column:
                cell.set_title(title(columns[0], row, data.spec.classes), fontsize=8, loc="left")
            elif not row:
                cell.set_title(f"training, epoch {column - 1}", fontsize=8, loc="left")
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of letters that the font has not
        figure.savefig(path)
    return read.unread


def view(data: Images, chosen: list[int], epoch: int | None) -> Batch:
    """These images as one epoch shows them; None: as evaluation does."""
    training = epoch is not None
    dataset = data.dataset("train", ALONE, training)
    return data.show(dataset[BatchIndices(epoch, chosen)], ALONE, training)


def title(batch: Batch, row: int, classes: tuple[str, ...]) -> str:
    """The class of an image, or its classes."""
    label = int(batch.labels[row])
    if label < 0:
        return "no label"
    if batch.accepted is None:
        return classes[label]
    return ", ".join(classes[i] for i in batch.accepted[row].nonzero().flatten().tolist())


def displayable(image: Tensor, data: Images) -> Tensor:
    """A normalised image, C h w, as h w 3 (or h w) in [0, 1]."""
    mean, std = (torch.tensor(x)[:, None, None] for x in (data.spec.mean, data.spec.std))
    shown = (image.cpu() * std + mean).clamp(0, 1).permute(1, 2, 0)
    return shown[..., 0] if shown.shape[-1] == 1 else shown[..., :3]
