"""Where two arms cross: by hand, and only where both sides are sure."""

from math import sqrt

import pytest

from vit.compare.crossing import crossing
from vit.compare.verdict import Effect


def effects(**by_value: tuple[float, float]) -> dict[float, Effect]:
    """Effects from value and half width at v1, v2, ..."""
    return {
        float(name.removeprefix("v")): Effect(value, value - half, value + half, None)
        for name, (value, half) in by_value.items()
    }


def test_a_crossing_lies_where_the_means_meet_on_a_logarithmic_axis():
    place = crossing(effects(v1=(-0.1, 0.05), v4=(0.1, 0.05)))
    assert place.place == pytest.approx(2)  # half of the way from 1 to 4, in logarithms
    assert (place.low, place.high, place.rising) == (1, 4, True)
    falling = crossing(effects(v1=(0.1, 0.05), v100=(-0.3, 0.05)))
    assert falling.place == pytest.approx(sqrt(10))  # a quarter of the way
    assert not falling.rising


def test_what_is_not_sure_lies_inside_the_crossing_s_interval():
    gains = effects(v1=(-0.1, 0.05), v2=(-0.01, 0.05), v4=(0.01, 0.05), v8=(0.1, 0.05))
    place = crossing(gains)
    assert (place.low, place.high) == (1, 8)
    assert place.place == pytest.approx(sqrt(8))


@pytest.mark.parametrize(
    "gains",
    [
        {},
        effects(v1=(-0.1, 0.2), v4=(0.1, 0.05)),  # one side is not sure
        effects(v1=(0.1, 0.05), v4=(0.2, 0.05)),
        effects(v1=(-0.1, 0.05), v2=(0.1, 0.05), v4=(-0.1, 0.05)),  # there and back
    ],
)
def test_no_crossing_is_told_where_none_is_sure(gains):
    assert crossing(gains) is None
