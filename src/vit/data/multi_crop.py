"""Multi-crop: every view of an image that an objective compares, each cut by draws of its own.

Objectives declare their views (DINO's, iBOT's and LeJEPA's: objectives/parts/multi_crop.py);
`Images.show` in base.py makes them with what is here. Of image files the workers cut the crops
(crops.py) and the rest is done to them on the device.
"""

from collections.abc import Callable

from torch import Tensor

from vit.batch import Batch, ViewSpec


def named_views(views: tuple[ViewSpec, ...]) -> list[tuple[str, ViewSpec]]:
    """Each view as often as its count says, with a name of its own that its draws are keyed by."""
    return [
        (f"{number}.{copy}", view)
        for number, view in enumerate(views)
        for copy in range(view.count)
    ]


def compares_views(views: tuple[ViewSpec, ...]) -> bool:
    """Does an objective compare several views of an image?"""
    return sum(view.count for view in views) > 1


def cut_views(
    batch: Batch,
    views: tuple[ViewSpec, ...],
    cut: Callable[[Batch, int, ViewSpec, str], Tensor],
) -> list[Tensor]:
    """Every view of each image: a list of B C h w.

    Args:
        batch: images as loaders emit them.
        views: what the objective asks for.
        cut: makes one view, from the batch, the view's number, the view and what is drawn.
    """
    return [
        cut(batch, number, view, f"view {name}")
        for number, (name, view) in enumerate(named_views(views))
    ]
