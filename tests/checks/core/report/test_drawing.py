"""The colours, and the small picture of one claim."""

import math
import re

import pytest

from polyseme.checks.core.report.drawing import strip
from polyseme.checks.core.report.palette import COLOURS, WRITTEN, contrast, variables


@pytest.mark.parametrize("dark", [False, True])
def test_every_text_has_contrast_to_what_it_stands_on(dark: bool):
    pairs = {
        (text, ground): contrast(COLOURS[text][dark], COLOURS[ground][dark])
        for text in WRITTEN
        for ground in WRITTEN[text]
    }
    assert len(pairs) > 20
    assert {pair: ratio for pair, ratio in pairs.items() if ratio < 4.5} == {}
    assert min(contrast(COLOURS["focus"][dark], COLOURS[ground][dark]) for ground in ("paper", "card")) >= 3
    assert variables(dark).count("--") == len(COLOURS)


def test_contrast_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21) == contrast("#ffffff", "#000000")
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.005)  # the known near miss
    assert contrast("#123456", "#123456") == 1


def places(measured: object, bound: object, control: object) -> tuple[float, float, float]:
    svg = str(strip({"measured": measured, "bound": bound, "controls": [{"measured": control}]}))
    dot, tick = re.search(r'cx="([\d.]+)"', svg), re.search(r'class="bound" x1="([\d.]+)"', svg)
    cross = re.search(r'd="M(-?[\d.]+) ', svg)
    assert dot and tick and cross, svg
    return float(dot[1]), float(tick[1]), float(cross[1]) + 4


def test_the_order_of_the_marks_is_that_of_the_numbers():
    dot, tick, cross = places(1e-15, 1e-13, 0.5)
    assert 26 < dot < tick < cross < 231
    dot, tick, cross = places(3.0, 1.0, 0.2)
    assert cross < tick < dot
    assert places(2.0, 2.0, 5.0)[0] == places(2.0, 2.0, 5.0)[1]


@pytest.mark.parametrize("nothing", [0.0, -1.5, 0, "-Infinity"])
def test_what_is_not_positive_stands_on_the_left_edge(nothing: object):
    assert places(nothing, 1.0, 5.0)[0] == 9


def test_what_is_off_scale_stands_at_the_right_edge():
    assert places(1e-3, 1e-2, "Infinity")[2] == 231
    assert places(1e-3, 1e-2, 1e40)[2] == pytest.approx(places(1e-3, 1e-2, 1e4)[2])
    assert places(0, 0, 0)[2] == 9


@pytest.mark.parametrize(
    ("measured", "bound"), [(None, None), (math.nan, 1.0), ("NaN", 1.0), (1.0, None), ("text", 1.0)]
)
def test_without_numbers_there_is_no_picture(measured: object, bound: object):
    assert strip({"measured": measured, "bound": bound, "controls": []}) == ""
