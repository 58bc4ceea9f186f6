"""Random draws as functions of counters, never of history.

A draw depends on (seed, epoch, image, purpose) alone: not on the batch an image stands in, on the
rank, on the worker, or on what was drawn before. So a run that was killed goes on bit for bit, and
two processes mask an image as one would. The hash is the finaliser of splitmix64 (Steele, Lea,
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), written in int64.
"""

import hashlib
import zlib

import torch
from jaxtyping import Float, Int
from torch import Tensor

GOLDEN = -7046029254386353131  # 0x9E3779B97F4A7C15, the golden ratio in 64 bits, as int64
EVALUATION = -1  # the epoch of every evaluation draw


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical right shift; torch's >> keeps the sign."""
    return (z >> bits) & ((1 << (64 - bits)) - 1)


def _mix(z: Tensor) -> Tensor:
    z = (z ^ _shift(z, 30)) * -4658895280553007687  # 0xBF58476D1CE4E5B9
    z = (z ^ _shift(z, 27)) * -7723592293110705685  # 0x94D049BB133111EB
    return z ^ _shift(z, 31)


def keys(seed: int, epoch: int | None, index: Int[Tensor, " B"], purpose: str) -> Int[Tensor, " B"]:
    """One int64 key per image.

    Args:
        seed: the run's.
        epoch: None in evaluation.
        index: the image's number in its split.
        purpose: what is drawn; draws of different purposes are independent.
    """
    key = torch.full_like(index, seed)
    for part in (EVALUATION if epoch is None else epoch, zlib.crc32(purpose.encode())):
        key = _mix(key + GOLDEN) ^ part
    return _mix(_mix(key + GOLDEN) + index * GOLDEN)


def uniform(key: Int[Tensor, " B"], count: int) -> Float[Tensor, "B count"]:
    """`count` float32 numbers per key in [0, 1), on a grid of 2**-24."""
    steps = torch.arange(1, count + 1, dtype=torch.int64, device=key.device) * GOLDEN
    return _shift(_mix(key[:, None] + steps), 40).float() * 2**-24


def step_seed(*parts: int | str) -> int:
    """A 63-bit seed from counters, for generators that draw a whole step (dropout, drop path)."""
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def seed_generators(seed: int, device: torch.device) -> None:
    """Reseed the default generators that torch's dropout reads; 1 us, no other device's."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
