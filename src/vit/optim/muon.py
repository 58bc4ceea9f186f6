"""Muon for the matrices inside an encoder's blocks, AdamW for everything else.

Source: Jordan et al., "Muon: An optimizer for hidden layers in neural networks",
kellerjordan.github.io/posts/muon, 2024; the steps are torch.optim.Muon's and torch.optim.AdamW's.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Optimizer):
    """Two optimisers that share one learning rate, one list of groups and one state.

    The orthogonal update is scaled to the size of AdamW's (Liu et al., arXiv:2502.16982, section
    2.2), so that a learning rate found for AdamW is a fair start.

    Args:
        params: groups as `parameter_groups` makes them; `is_matrix` ones are Muon's.
        lr: learning rate of both.
        weight_decay: decoupled decay of both.
        momentum: Muon's.
        betas: AdamW's.
    """

    def __init__(
        self,
        params: Iterable[dict[str, Any]],
        lr: float = 1e-3,
        weight_decay: float = 0.1,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.95),
    ) -> None:
        groups = list(params)
        if not any(isinstance(group, dict) and group.get("is_matrix") for group in groups):
            raise ValueError("Muon: the encoder has no matrices in blocks that learn; use AdamW")
        if not 0 <= momentum < 1:
            raise ValueError(f"Muon: momentum must be in [0, 1), got {momentum}")
        shared = {"lr": lr, "weight_decay": weight_decay}
        matrices = torch.optim.Muon(
            [group for group in groups if group.get("is_matrix")],
            **shared,
            momentum=momentum,
            adjust_lr_fn="match_rms_adamw",
        )
        others = torch.optim.AdamW(
            [group for group in groups if not group.get("is_matrix")], **shared, betas=betas
        )
        super().__init__([*matrices.param_groups, *others.param_groups], {})
        self.parts = [matrices, others]
        self._share()

    def _share(self) -> None:
        for part, of_matrices in zip(self.parts, (True, False), strict=True):
            part.state = self.state
            part.param_groups = [
                group for group in self.param_groups if bool(group.get("is_matrix")) is of_matrices
            ]

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore both optimisers, which share the state."""
        super().load_state_dict(state_dict)
        self._share()

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
        """One step of each optimiser."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for part in self.parts:
            part.step()
        return loss
