"""What a protocol returns, and how it is identified.

A figure without its protocol says little, and tables must not mix them: every setting that can
move the figure is part of the id, so that changing a default changes the id.

M images.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from torch import Tensor


@dataclass
class Result:
    """One protocol's outcome.

    Args:
        metrics: fractions in [0, 1] by name.
        per_image: M values by name, correctness for instance, in the split's order.
        protocol: the settings it was made with.
    """

    metrics: dict[str, float]
    per_image: dict[str, Tensor]
    protocol: dict[str, Any]

    @property
    def id(self) -> str:
        """Name and a hash of the settings."""
        text = json.dumps(self.protocol, sort_keys=True, default=str)
        return f"{self.protocol['name']}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"
