"""A sharded encoder gives the same features, intermediate layers and gradients as a whole one."""

from multiprocessing.connection import Connection
from pathlib import Path

import pytest
import torch
from torch import distributed as dist
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy

from builders import GREY, batch_of, small_vit
from launch import CONTEXT
from vit.models import ResNet
from vit.objectives.supervised import Supervised
from vit.sharding import fill_unstepped, shard_objective


def _compare(answers: Connection, store: Path) -> None:
    """One process shards as many do: its parameters are gathered inside of forward alone."""
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    mesh, images = init_device_mesh("cpu", (1,)), batch_of().images
    for build, layers in ((small_vit, (1, 2)), (lambda: ResNet(GREY), (2, 4))):
        results = []
        for sharded in (False, True):
            torch.manual_seed(0)
            objective = Supervised(build(), GREY).eval()
            if sharded:
                shard_objective(objective, mesh, MixedPrecisionPolicy())
            features = objective.encoder(images, layers=layers)
            total = sum(tensor.square().mean() for tensor in features.layers.values())
            (total + features.pooled.square().mean()).backward()
            gradients = [p.grad for p in objective.encoder.parameters()]
            gradients = [g.full_tensor() if sharded else g for g in gradients]
            results.append([features.pooled, *features.layers.values(), *gradients])
        # a tensor that is read twice gets its gradients in another order
        answers.send([float((a - b).abs().max()) for a, b in zip(*results, strict=True)])
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """Differences tensor by tensor: of a ViT, and of a ResNet."""
    ours, theirs = CONTEXT.Pipe()
    store = tmp_path_factory.mktemp("store") / "file"
    child = CONTEXT.Process(target=_compare, args=(theirs, store))
    child.start()
    theirs.close()
    yield [ours.recv() for _ in range(2)]
    child.join()


def test_a_sharded_vit_gives_the_same_layers_and_gradients(answers):
    assert len(answers[0]) > 20
    assert max(answers[0]) < 1e-6


def test_a_sharded_resnet_gives_the_same_stages_and_gradients(answers):
    assert len(answers[1]) > 20
    assert max(answers[1]) < 1e-6


@pytest.mark.parametrize(
    "build", [torch.optim.AdamW, lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9)]
)
def test_a_state_of_zeros_is_where_a_parameter_that_never_stepped_begins(build):
    """In both runs one of two parameters is skipped at first; in one it is given zeros then."""
    results = []
    for filled in (False, True):
        both = [torch.nn.Parameter(torch.ones(3)) for _ in range(2)]
        optimizer = build([{"params": both}])
        for step in range(4):
            for number, parameter in enumerate(both):
                late = number == 1 and step < 2
                parameter.grad = None if late else torch.arange(3.0) + number + step
            optimizer.step()
            if filled and step == 1:
                assert both[1] not in optimizer.state
                fill_unstepped(optimizer)
                assert optimizer.state[both[1]].keys() == optimizer.state[both[0]].keys()
        results.append(torch.stack([p.detach() for p in both]))
    assert torch.equal(*results)
