"""Data sets behind one interface: splits, exact loaders, views cut on the device."""

from vit.data.digits import Digits

__all__ = ["Digits"]
