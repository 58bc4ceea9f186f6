"""A position table that outgrew the rest is named once, also after a resume; nothing else is."""

import pytest
import torch
from lightning.pytorch import Callback, Trainer

from builders import every_objective, small_vit
from vit.callbacks.position_growth import PositionGrowth, norm, sizes
from vit.data import Digits
from vit.module import ViTModule


class Grow(Callback):
    """Multiplies the table, and the patch embedding, after the last step."""

    def __init__(self, table: float, patches: float) -> None:
        self.table, self.patches = table, patches

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        encoder = pl_module.objective.encoder
        if trainer.global_step == 2:
            encoder.pos_embed.data *= self.table
            encoder.patch_embed.proj.weight.data *= self.patches


def fitted(objective: str, table: float, patches: float, *callbacks: Callback, **settings) -> None:
    data = Digits(batch_size=8)
    module = ViTModule(
        every_objective()[objective], lambda spec: small_vit(spec, **settings),
        lambda groups: torch.optim.SGD(groups, lr=0.0), spec=data.spec,
    )  # fmt: skip
    grow = [] if settings else [Grow(table, patches)]
    Trainer(
        max_steps=2, limit_val_batches=0, accelerator="cpu", logger=False,
        callbacks=[*grow, *(callbacks or (PositionGrowth(),))], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
    ).fit(module, data)  # fmt: skip


@pytest.mark.parametrize(
    ("objective", "table", "patches", "said"),
    [
        ("mpp", 4.5, 1.5, "grew to 4.5 times its size, the patch embedding to 1.5"),
        ("mpp", 4.5, 2.5, None),  # all has grown
        ("mpp", 1.9, 1.0, None),
        ("supervised", 4.5, 1.0, None),  # pays all the same
    ],
)
def test_a_table_that_outgrew_the_patches_is_named(objective, table, patches, said, capsys):
    fitted(objective, table, patches)
    out = capsys.readouterr().out
    assert out.count("positions:") == (said is not None)
    assert said is None or said in out


def test_fixed_positions_cannot_grow(capsys):
    fitted("mpp", 1, 1, position="sincos")
    assert "positions:" not in capsys.readouterr().out


def test_a_resumed_run_is_compared_with_its_first_start(capsys):
    before = PositionGrowth()
    before.start = {"table": 0.01, "patches": 100.0}
    after = PositionGrowth()
    after.load_state_dict(before.state_dict())
    fitted("mpp", 1, 1, after)
    assert "positions: their table grew to" in capsys.readouterr().out


def test_sizes_are_those_of_the_weights():
    assert norm(torch.tensor([3.0, 4.0])) == 5.0
    data = Digits(batch_size=8)
    module = ViTModule(
        every_objective()["mpp"], small_vit, lambda g: torch.optim.SGD(g, lr=0.0), spec=data.spec
    )
    encoder = module.objective.encoder
    assert sizes(module)["table"] == pytest.approx(encoder.pos_embed.square().sum().sqrt().item())
