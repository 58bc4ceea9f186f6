"""Shared by all tests: one thread, small builders, and whole runs started from a warm process."""

import hashlib
import os

import pytest
import torch

os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow", action="store_true", help="the slow tests too")
    parser.addoption(
        "--third",
        type=int,
        default=None,
        help="of the slow tests only this third (0, 1, 2), and nothing else",
    )
    parser.addoption(
        "--kills",
        type=int,
        default=2,
        help="how often the slow test of each objective kills its run",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    third = config.getoption("--third")
    # by its mark: keywords hold the names of folders too
    slow = [item for item in items if item.get_closest_marker("slow")]
    if third is not None:
        chosen = [
            item
            for item in slow
            if int(hashlib.md5(item.nodeid.encode()).hexdigest(), 16) % 3 == third % 3
        ]
    elif config.getoption("--slow"):
        return
    else:
        chosen = [item for item in items if item not in slow]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen
