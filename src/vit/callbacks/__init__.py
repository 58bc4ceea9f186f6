"""What happens around training: the run folder, checkpoints, predictions, probes, pictures.

Every run has those of `defaults.py`; the ones below are for `trainer.callbacks` in YAML. The
average of weights (model.ema) is no callback: ../ema.py, stepped by ../module.py.
"""

from vit.callbacks.confusion_matrix import ConfusionMatrix
from vit.callbacks.pictures import Pictures
from vit.callbacks.probe import Probe
from vit.callbacks.profile import Profile

__all__ = ["ConfusionMatrix", "Pictures", "Probe", "Profile"]
