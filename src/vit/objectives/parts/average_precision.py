"""Mean average precision over classes, by torchmetrics: apart, as that takes seconds to load."""

import torch
from torch import Tensor
from torchmetrics.classification import MultilabelAveragePrecision
from torchmetrics.functional.classification import multilabel_average_precision
from torchmetrics.utilities import dim_zero_cat


class MeanAveragePrecision(MultilabelAveragePrecision):
    """The mean over classes that occur; a class without an image has no precision."""

    def compute(self) -> Tensor:
        """NaN where no class occurs."""
        scores, truth = dim_zero_cat(self.preds), dim_zero_cat(self.target)
        occurs = truth.any(0)
        if not occurs.any():
            return torch.tensor(float("nan"))
        count = int(occurs.sum())
        return multilabel_average_precision(scores[:, occurs], truth[:, occurs], max(count, 1))
