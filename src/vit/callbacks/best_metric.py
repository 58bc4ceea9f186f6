"""By which figure of a validation the best weights are chosen, and when training has had enough."""

import math

from vit.data.base import Images
from vit.data.splits import uneven
from vit.module import ViTModule

PLAIN, BALANCED = "val/accuracy", "val/balanced_accuracy"


class BestMetric:
    """The figure, once the data and the objective are known.

    The objective names it; where classes differ in size and it says accuracy, balanced accuracy
    (the mean of the classes' recalls) stands for it, as accuracy rises by ignoring small classes.

    Args:
        given: the figure that a person named, val/macro_f1 say; None: see above.
    """

    def __init__(self, given: str | None = None) -> None:
        if given is not None and not given.startswith("val/"):
            raise ValueError(f"best_metric must be a figure of validation, val/..., got {given}")
        self.given = given
        self.balanced: bool | None = None

    def name(self, data: Images, module: ViTModule) -> str | None:
        """What it is called in `module.results`; None: the objective knows none.

        Raises:
            ValueError: it could not tell one training from another.
        """
        classes = len(module.spec.classes)
        if self.given == "val/top5" and classes <= 5:
            raise ValueError(
                f"best_metric: val/top5 is always 1 with {classes} classes; use {PLAIN}"
            )
        best = self.given or (module.objective.best or (None,))[0]
        if best != PLAIN or self.given:
            return best
        if self.balanced is None:
            self.balanced = uneven(data.open("train").labels)
        known = BALANCED in module.results or not module.results
        return BALANCED if self.balanced and known else PLAIN

    def value(self, data: Images, module: ViTModule) -> float | None:
        """The figure of the last validation; None: there is none.

        Raises:
            ValueError: no validation gives the figure that a person named.
        """
        name = self.name(data, module)
        if name not in module.results:
            if self.given:
                known = ", ".join(sorted(module.results))
                raise ValueError(f"best_metric: no figure {self.given}; this run has {known}")
            return None
        value = module.results[name]
        return None if math.isnan(value) else value

    def is_better(self, value: float, before: float | None, module: ViTModule) -> bool:
        """Does a value beat the best one before it? One that is equal does not."""
        if before is None:
            return True
        if self.given:
            falls = self.given.endswith("loss")
        else:
            falls = bool(module.objective.best) and module.objective.best[1] == "min"
        return value < before if falls else value > before
