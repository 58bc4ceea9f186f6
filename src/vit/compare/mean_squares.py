"""Analysis of variance of right answers: seeds, label draws nested in them, images crossed.

K tables of arms and controls, n seeds, d label draws of each, m images; one answer a cell (Searle,
Casella & McCulloch, "Variance Components", 1992). All sources for all pairs of tables at once: the
mean square of a difference follows from the mean products of its two tables.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import fdtri

from vit.compare.power import Noise

LEVEL = 0.99  # an arm whose F over the others' pool is beyond this quantile is noisy


class MeanSquares(NamedTuple):
    """Mean squares by source; `cell`: seeds x images. With one draw, draw = residual = cell.

    Their expectations: seed r + d c + m w + d m s, draw r + m w, image r + d c + n d i,
    cell r + d c, residual r, where s, w, i, c, r are `Noise`'s seed, draw, image, seed_image and
    residual.
    """

    seed: np.ndarray
    draw: np.ndarray
    image: np.ndarray
    cell: np.ndarray
    residual: np.ndarray


def mean_products(x: np.ndarray) -> MeanSquares:
    """Mean products of every two of K tables, K n d m: each source K K, on its diagonal squares.

    Analysis of variance with draws nested in seeds, both crossed with images, one answer a cell.
    """
    _, n, d, m = x.shape
    mean = x.mean((1, 2, 3), keepdims=True)
    seed, image = x.mean((2, 3), keepdims=True) - mean, x.mean((1, 2), keepdims=True) - mean
    cell = x.mean(2, keepdims=True) - mean - seed - image
    draw = x.mean(3, keepdims=True) - mean - seed

    cells = _products(cell, (n - 1) * (m - 1), n * d * m)
    seeds, images = _products(seed, n - 1, n * d * m), _products(image, m - 1, n * d * m)
    if d == 1:
        return MeanSquares(seeds, cells, images, cells, cells)
    rest = x - mean - seed - image - cell - draw
    draws = _products(draw, n * (d - 1), n * d * m)
    return MeanSquares(
        seeds, draws, images, cells, _products(rest, n * (d - 1) * (m - 1), n * d * m)
    )


def _products(part: np.ndarray, freedom: int, size: int) -> np.ndarray:
    """Mean products of deviations, each of which stands for several of `size` cells."""
    flat = part.reshape(len(part), -1)  # einsum adds in one order: equal tables cancel exactly
    return np.einsum("ki,li->kl", flat, flat) * (size / flat.shape[1] / freedom)


def of_differences(products: np.ndarray) -> np.ndarray:
    """Mean squares of every difference of two tables from mean products, both ... K K."""
    squares = products.diagonal(axis1=-2, axis2=-1)
    return np.maximum(squares[..., :, None] + squares[..., None, :] - 2 * products, 0.0)


def components(squares: MeanSquares, n: int, d: int, m: int) -> Noise:
    """Variances from mean squares, each at least 0."""
    seed, draw, image, cell, rest = map(float, squares)
    between, within = (seed - cell) / m, (draw - rest) / m  # expected: d s + w, w
    if between < within:  # no seed component: both estimate the draws'
        within = ((n - 1) * between + n * (d - 1) * within) / (n * d - 1)
    draws = max(within, 0.0)
    seeds, images = max(between - draws, 0.0) / d, max(image - cell, 0.0) / (n * d)
    return Noise(seeds, draws if d > 1 else 0.0, images, rest, max(cell - rest, 0.0) / d)


def noisy_arms(products: np.ndarray, k: int, n: int) -> list[int]:
    """Those of k arms, and of the controls behind them, whose seeds vary more than other arms'.

    F test at `LEVEL` of each. The noisiest arm leaves, and the rest are tested again while three
    are left; then each control is tested against them.
    """
    calm, noisy = list(range(k)), []
    while len(calm) > 2:
        ratios = noise_ratios(products, calm, n)[calm]
        if max(ratios) <= 1:
            break
        noisy.append(calm.pop(int(np.argmax(ratios))))
    ratios = noise_ratios(products, calm, n) if len(calm) > 1 else np.zeros(len(products))
    return noisy + [one for one in range(k, len(products)) if ratios[one] > 1]


def noise_ratios(products: np.ndarray, calm: list[int], n: int) -> np.ndarray:
    """F of each of K tables over its limit; where it is a table of two calm ones, 0.

    A table minus the mean of q calm ones, itself left out, against these among each other, with
    n - 1 and (q - 1)(n - 1) degrees of freedom: exact for normal seeds, whatever all arms share.
    """
    inside, squares = np.isin(np.arange(len(products)), calm), products.diagonal()
    q, rows = len(calm) - inside, products[:, calm].sum(1)
    total = rows[calm].sum() - inside * (2 * rows - squares)
    trace = squares[calm].sum() - inside * squares
    mean = (squares - 2 * (rows - inside * squares) / q + total / q**2) / (1 + 1 / q)
    freedom = np.maximum(q - 1, 1)
    pool = (q * trace - total) / (q * freedom)
    ratios = mean / np.maximum(fdtri(n - 1, freedom * (n - 1), LEVEL) * pool, 1e-12)
    return np.where(q > 1, ratios, 0.0)
