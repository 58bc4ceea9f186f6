"""An objective's views, one by one."""

from vit.batch import ViewSpec


def named(views: tuple[ViewSpec, ...]) -> list[tuple[str, ViewSpec]]:
    """Each view as often as it is wanted, by a name of its own."""
    return [
        (f"{number}.{copy}", view)
        for number, view in enumerate(views)
        for copy in range(view.count)
    ]


def several(views: tuple[ViewSpec, ...]) -> bool:
    """Does an objective compare views of an image?"""
    return sum(view.count for view in views) > 1
