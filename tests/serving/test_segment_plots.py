"""Plots are SVG that any reader takes, whatever stands in a name."""

from __future__ import annotations

from xml.etree import ElementTree

from serving.segment_plots import WIDE, bars, cells

SVG = "{http://www.w3.org/2000/svg}"


def test_bars_are_as_long_as_what_they_stand_for() -> None:
    root = ElementTree.fromstring(bars("T <&>", [("a<b", 10.0, "10 & more"), ("c", 5.0, "5"), ("none", 0.0, "0")]))
    widths = [float(each.attrib["width"]) for each in root.findall(f"{SVG}rect")[1:]]
    assert widths == [WIDE, WIDE / 2, 1.0]
    assert [each.text for each in root.iter(f"{SVG}text")][1:3] == ["a<b", "10 & more"]
    ElementTree.fromstring(bars("nothing", []))


def test_cells_stand_in_rows_and_columns() -> None:
    root = ElementTree.fromstring(cells("T", ["one", "two"], ["x", "y", "z"], [[0.0, 2.5, -1.0], [1.0, 0.0, 0.0]]))
    assert len(root.findall(f"{SVG}rect")) == 1 + 6
    assert {"+2.5", "-1.0", "x", "two"} <= {each.text for each in root.iter(f"{SVG}text")}
