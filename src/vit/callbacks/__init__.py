"""What happens around training: the run folder, checkpoints, predictions, probes, pictures."""

from vit.callbacks.checkpoints import Checkpoints
from vit.callbacks.confusion_matrix import ConfusionMatrix
from vit.callbacks.knn import KNN
from vit.callbacks.pictures import Pictures
from vit.callbacks.probe import Probe
from vit.callbacks.profile import Profile

__all__ = ["KNN", "Checkpoints", "ConfusionMatrix", "Pictures", "Probe", "Profile"]
