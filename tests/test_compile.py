"""Compiled blocks: the same numbers and names, and one compiled function for all blocks.

In a process without the shape checks of the tests, which the compiler cannot read. The compiler's
last part, which makes machine code and takes a minute, is left out.
"""

from multiprocessing.connection import Connection

import pytest
import torch

from builders import batch_of, small_vit
from launch import CONTEXT
from vit.lightning_workarounds import compile_blocks


def _compare(answers: Connection) -> None:
    graphs, real = [], torch.compile

    def note(graph, inputs):
        graphs.append(graph)
        return graph.forward

    torch.compile = lambda f, **how: real(f, backend=note, **how)
    images = batch_of().images
    plain, fast = small_vit(depth=3), small_vit(depth=3)
    compile_blocks(fast)
    for encoder in (plain, fast):
        encoder(images).pooled.square().sum().backward()
    pairs = zip(plain.parameters(), fast.parameters(), strict=True)
    answers.send(max(float((one.grad - other.grad).abs().max()) for one, other in pairs))
    answers.send(list(fast.state_dict()) == list(plain.state_dict()))
    answers.send(len(graphs))

    asked = [encoder(images, layers=(1, 3)) for encoder in (plain, fast)]
    between = zip(*(features.layers.values() for features in asked), strict=True)
    answers.send(max(float((one - other).abs().max()) for one, other in between))

    graphs.clear()
    torch._dynamo.reset()
    many = small_vit(depth=12, drop_path=0.2).train()
    compile_blocks(many)
    many(images)
    answers.send(len(graphs))


@pytest.fixture(scope="module")
def answers():
    """Difference of gradients, equal names, graphs, difference of layers, graphs of twelve."""
    ours, theirs = CONTEXT.Pipe()
    child = CONTEXT.Process(target=_compare, args=(theirs,))
    child.start()
    theirs.close()
    yield [ours.recv() for _ in range(5)]
    child.join()


def test_gradients_and_names_stay(answers):
    difference, same_names, graphs, *_ = answers
    assert graphs == 1
    assert difference < 1e-6
    assert same_names


def test_intermediate_layers_stay(answers):
    assert answers[3] < 1e-6


def test_blocks_with_other_rates_share_a_function(answers):
    """Twelve drop-path rates compiled in would pass torch's limit of eight, then run uncompiled."""
    assert answers[4] == 2  # the first block drops nothing
