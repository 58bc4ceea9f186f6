"""k-means features against NumPy, by hand, and on data that they are known to tell apart."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeClassifier

from vit.batch import DataSpec, LoaderContext
from vit.data import Digits
from vit.evaluate.base import FrozenFeatures, Task
from vit.evaluate.features import raw_pixels
from vit.evaluate.kmeans import (
    Dictionary,
    even,
    kmeans,
    kmeans_features,
    learn_dictionary,
    random_patches,
    triangle,
)

RGB = DataSpec(("a", "b"), (10, 8), 3, (0.5, 0.4, 0.3), (0.2, 0.25, 0.3))


def images(count: int = 6) -> torch.Tensor:
    return torch.rand(count, 3, 10, 8, generator=torch.Generator().manual_seed(0))


def by_loops(image: np.ndarray, dictionary: Dictionary) -> np.ndarray:
    """The paper's features of one image, place by place."""
    side, centroids = dictionary.side, dictionary.centroids.numpy()
    high, wide = (size - side + 1 for size in image.shape[1:])
    quadrants = np.zeros((2, 2, len(centroids)))
    for top in range(high):
        for left in range(wide):
            patch = image[:, top : top + side, left : left + side].reshape(-1)
            patch = (patch - patch.mean()) / np.sqrt(patch.var(ddof=1) + 10 / 255**2)
            white = (patch - dictionary.mean.numpy()) @ dictionary.whitening.numpy()
            z = np.sqrt(((white - centroids) ** 2).sum(1))
            place = int(top >= -(-high // 2)), int(left >= -(-wide // 2))
            quadrants[place] += np.maximum(0, z.mean() - z)
    return quadrants.reshape(-1)


def test_the_triangle_code_is_numpys():
    dictionary = learn_dictionary(images(), 0, 12)
    expected = [by_loops(image.double().numpy(), dictionary) for image in images()]
    assert np.allclose(triangle(images(), dictionary).numpy(), expected, atol=1e-2)


def test_one_patch_by_hand():
    """One 1x1 place, white already: distances 0, 3 and 6 to the centroids, 3 on average."""
    image = torch.zeros(1, 1, 3, 3)
    centroids = torch.zeros(3, 9)
    centroids[1, 0], centroids[2, 0] = 3.0, 6.0
    dictionary = Dictionary(3, torch.zeros(9), torch.eye(9), centroids)
    features = triangle(image, dictionary).reshape(4, 3)
    assert features.tolist() == [[3, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_patches_are_white():
    many = torch.rand(200, 3, 10, 8, generator=torch.Generator().manual_seed(1))
    dictionary = learn_dictionary(many, 0, 8)
    patches = even(random_patches(many, dictionary.side, 0))
    white = np.cov(((patches - dictionary.mean) @ dictionary.whitening).T.numpy())
    before = np.linalg.eigvalsh(np.cov(patches.T.numpy()))
    expected = np.sort(before / (before + 0.1))
    assert np.allclose(np.sort(np.linalg.eigvalsh(white)), expected, atol=1e-3)


def test_patches_are_pieces_of_their_images():
    pieces = random_patches(images(2), 3, 0)
    inside = images(2).unfold(2, 3, 1).unfold(3, 3, 1).permute(0, 2, 3, 1, 4, 5).flatten(3)
    for piece in pieces[:: len(pieces) // 10]:
        assert (inside.flatten(0, 2) == piece).all(1).any()


def test_the_classifier_is_ridge_on_standardised_features():
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(60, 5, generator=draw), torch.arange(60) % 3
    features[:, 0] = 0.05 * (labels + features[:, 0])  # so small that 0.01 counts
    rows = FrozenFeatures({"kmeans": features}, labels)
    result = kmeans(Task(rows[:40], rows[:0], rows[40:], 3), penalties=(10.0,))
    train = features[:40].numpy()
    scale = np.sqrt(train.var(0) + 0.01)
    reference = RidgeClassifier(alpha=10.0).fit((train - train.mean(0)) / scale, labels[:40])
    answers = reference.predict((features[40:].numpy() - train.mean(0)) / scale)
    assert result.per_image["correct"].tolist() == (answers == labels[40:].numpy()).tolist()
    assert result.notes == {"penalty": 10.0}


def test_flat_images_and_few_patches_are_no_error():
    blank = FrozenFeatures({"pixels": torch.zeros(4, 240)}, torch.arange(4) % 2)
    features = kmeans_features({"train": blank, "val": blank}, RGB, 0)
    assert torch.isfinite(features["val"].features).all()
    assert kmeans(Task(features["train"], blank[:0], features["val"], 2)).metrics["accuracy"] == 0.5


def test_images_without_a_label_teach_the_dictionary_too():
    rows = FrozenFeatures({"pixels": images().flatten(1)}, torch.tensor([0, 1, -1, -1, -1, -1]))
    whole, part = ({"train": some, "val": rows[:2]} for some in (rows, rows[:2]))
    features = [kmeans_features(pixels, RGB, 0)["val"].features for pixels in (whole, part)]
    assert features[0].shape != features[1].shape  # fewer patches, fewer centroids


def test_a_seed_gives_the_same_features_again_and_another_others():
    rows = {"train": FrozenFeatures({"pixels": images().flatten(1)}, torch.arange(6) % 2)}
    once, again, other = (kmeans_features(rows, RGB, s)["train"].features for s in (0, 0, 1))
    assert torch.equal(once, again)
    assert once.shape != other.shape or not torch.allclose(once, other)


def test_cluttered_digits_are_told_apart_where_their_pixels_are_not():
    """All labels of five digits: raw pixels measure 33 %, of 20 % by chance."""
    data = Digits(canvas=24, clutter=4, classes=[5, 6, 7, 8, 9])
    pixels = {split: raw_pixels(data, split, LoaderContext()) for split in ("train", "test")}
    features = kmeans_features(pixels, data.spec, 0)
    task = Task(features["train"], features["train"], features["test"], 5)
    assert kmeans(task).metrics["accuracy"] > 0.7


def test_wrong_penalties_are_named():
    rows = FrozenFeatures({"kmeans": torch.zeros(2, 1)}, torch.tensor([0, 1]))
    with pytest.raises(ValueError, match=r"kmeans: penalties must be above 0, got \[0\.0\]"):
        kmeans(Task(rows, rows, rows, 2), penalties=(0.0,))
