"""A short name for plain content: equal content, equal name, on any machine and in any year."""

import hashlib
import json
from typing import Any


def digest(content: Any) -> str:
    """Ten hexadecimal digits of what JSON can hold; the order of a dict's keys does not count."""
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:10]
