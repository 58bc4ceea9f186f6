"""The control that learns features without a network: k-means on small patches.

Coates, Ng & Lee, "An Analysis of Single-Layer Networks in Unsupervised Feature Learning", AISTATS
2011, section 3: patches of the training images, each brought to mean 0 and deviation 1, ZCA
whitening, k-means, the "triangle" activation f_k = max(0, mean(z) - z_k) of the distances z to the
K centroids, at every place of the image, summed over its quadrants; then a linear classifier.
CIFAR-10, all labels: 77.9 % with K = 1,600.
Differs from it: K = 400 and at most 100,000 patches, so that it takes seconds; mini-batch k-means;
ridge regression on -1 and 1, its penalty chosen by leave-one-out accuracy on the training images,
where the paper trains an L2-SVM (equal within a point on cluttered digits with 10 labels a class,
and 20 times slower). Large images are shrunk as raw pixels are.

M images, C channels, H W pixels, P patches of Q numbers, K centroids.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from vit.batch import DataSpec
from vit.evaluate.base import FrozenFeatures, Result, Task
from vit.evaluate.features import LARGEST
from vit.randomness import keys, uniform

CENTROIDS = 400
PATCH = 6 / 32  # of the image's side: the paper's 6 of 32 px
SMALLEST = 3  # side of a patch in pixels
MOST_PATCHES = 100_000
PATCHES_EACH = 10  # a centroid needs so many, or there are fewer centroids
FLAT = 10 / 255**2  # added to a patch's variance: the paper's 10 for pixels of 0 to 255
WHITENING = 0.1  # added to the variances that are whitened: the paper's
SMALL = 0.01  # added to the variance of a feature: the paper's
ROWS = 64  # images whose distances are in memory at once


@dataclass(frozen=True)
class Dictionary:
    """What was learned from patches.

    Args:
        side: of a patch in pixels.
        mean: of the patches, Q.
        whitening: Q Q.
        centroids: K Q, of whitened patches.
    """

    side: int
    mean: Float[Tensor, " Q"]
    whitening: Float[Tensor, "Q Q"]
    centroids: Float[Tensor, "K Q"]


def kmeans(task: Task, penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1e3, 1e4)) -> Result:
    """Classify the features of `kmeans_features`, or any others, linearly.

    Args:
        task: what to learn from and what to classify.
        penalties: of the weights' squares, tried by leave-one-out on the training images.
    """
    if not penalties or min(penalties) <= 0:
        raise ValueError(f"kmeans: penalties must be above 0, got {list(penalties)}")
    from sklearn.linear_model import RidgeClassifierCV  # slow to load, and only needed here

    train, queries = (part.features.double() for part in (task.train, task.queries))
    variance, mean = torch.var_mean(train, 0, correction=0)
    deviation = (variance + SMALL).sqrt()
    classifier = RidgeClassifierCV(alphas=sorted(penalties), scoring="accuracy")
    classifier.fit(((train - mean) / deviation).numpy(), task.train.labels.numpy())
    answers = torch.from_numpy(classifier.predict(((queries - mean) / deviation).numpy()))
    correct = answers == task.queries.labels
    return Result(
        {"accuracy": correct.double().mean().item()},
        {"correct": correct},
        {
            "name": "kmeans",
            "penalties": sorted(penalties),
            "features": train.shape[1],
            "patch": PATCH,
            "most_patches": MOST_PATCHES,
            "train": len(train),
        },
        {"penalty": float(classifier.alpha_)},
    )


def kmeans_features(
    pixels: dict[str, FrozenFeatures], spec: DataSpec, seed: int, centroids: int = CENTROIDS
) -> dict[str, FrozenFeatures]:
    """Features of every split by a dictionary that the training images taught.

    Args:
        pixels: of `raw_pixels`, by split; `train` may hold images without a label.
        spec: by which they were normalised.
        seed: of the patches' places and of k-means.
        centroids: at most so many.
    """
    height, width = (LARGEST, LARGEST) if max(spec.image_size) > LARGEST else spec.image_size
    mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (spec.mean, spec.std))
    images = {
        split: rows.features.unflatten(1, (spec.channels, height, width)) * std + mean
        for split, rows in pixels.items()
    }
    dictionary = learn_dictionary(images["train"], seed, centroids)
    return {
        split: FrozenFeatures({"kmeans": triangle(images[split], dictionary)}, rows.labels)
        for split, rows in pixels.items()
    }


def learn_dictionary(images: Float[Tensor, "M C H W"], seed: int, centroids: int) -> Dictionary:
    """Whitening and centroids from patches at random places of images in [0, 1]."""
    from sklearn.cluster import MiniBatchKMeans  # slow to load, and only needed here

    side = max(round(PATCH * min(images.shape[-2:])), SMALLEST)
    patches = even(random_patches(images, side, seed))
    mean = patches.mean(0)
    variances, directions = torch.linalg.eigh(torch.cov(patches.T))
    whitening = directions @ torch.diag((variances + WHITENING).rsqrt()) @ directions.T
    white = (patches - mean) @ whitening
    count = max(min(centroids, len(white) // PATCHES_EACH), 1)
    clusters = MiniBatchKMeans(count, batch_size=4096, n_init=1, random_state=seed)
    clusters.fit(white.numpy())
    return Dictionary(side, mean, whitening, torch.from_numpy(clusters.cluster_centers_))


def random_patches(images: Float[Tensor, "M C H W"], side: int, seed: int) -> Float[Tensor, "P Q"]:
    """Patches at places that depend on the seed and the image's number alone."""
    images = images[:MOST_PATCHES]
    down, right = (size - side + 1 for size in images.shape[-2:])
    each = min(MOST_PATCHES // len(images), down * right)
    numbers = torch.arange(len(images))
    top, left = uniform(keys(seed, None, numbers, "kmeans patches"), 2 * each).chunk(2, 1)
    top, left = (top * down).long(), (left * right).long()  # M each
    square = torch.arange(side)
    rows, columns = top[..., None, None] + square[:, None], left[..., None, None] + square
    cut = images.movedim(1, -1)[numbers.view(-1, 1, 1, 1), rows, columns]  # M each side side C
    return cut.movedim(-1, 2).flatten(0, 1).flatten(1)  # P Q


def even(patches: Float[Tensor, "*P Q"]) -> Float[Tensor, "*P Q"]:
    """Each patch with mean 0 and deviation 1, but for flat ones."""
    variance, mean = torch.var_mean(patches, -1, keepdim=True)
    return (patches - mean) / (variance + FLAT).sqrt()


def triangle(images: Float[Tensor, "M C H W"], dictionary: Dictionary) -> Float[Tensor, "M _d"]:
    """How much nearer than the mean one each centroid is, summed over quadrants: M 4K."""
    centroids, features = dictionary.centroids, []
    quadrant = quadrants(*(size - dictionary.side + 1 for size in images.shape[-2:]))  # 4 P
    for block in images.split(ROWS):
        patches = even(F.unfold(block, dictionary.side).transpose(1, 2))  # B P Q
        white = ((patches - dictionary.mean) @ dictionary.whitening).flatten(0, 1)  # BP Q
        lengths = white.square().sum(1, keepdim=True) + centroids.square().sum(1)
        distances = torch.addmm(lengths, white, centroids.T, alpha=-2).relu_().sqrt_()  # BP K
        near = torch.sub(distances.mean(1, keepdim=True), distances, out=distances).relu_()
        features.append((quadrant @ near.unflatten(0, (len(block), -1))).flatten(1))
    return torch.cat(features)


def quadrants(height: int, width: int) -> Float[Tensor, "4 P"]:
    """1 where a place lies in a quadrant; a middle row or column counts to the first."""
    down, right = (torch.arange(size) >= (size + 1) // 2 for size in (height, width))
    return F.one_hot((2 * down[:, None] + right).flatten(), 4).T.float()
