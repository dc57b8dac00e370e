"""Clipped capitals become labels a person can read."""

from __future__ import annotations

import pytest

from serving.shelf_labels import ABBREVIATIONS, EXACT, item_label, package_size, shelf_label


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        ("POTATO CHIPS", "Potato Chips"),
        ("REFRIG DIPS", "Refrigerated Dips"),
        ("CHIX: ROTISSERIE (HOT)", "Chicken: Rotisserie"),
        ("APPLES GOLD DELICIOUS (BULK&BA", "Apples Gold Delicious"),
        ("FEM. HYGN. TAMPONS", "Feminine Hygiene Tampons"),
        ("CHEESE:SPECIALTY PREPACK", "Cheese: Specialty Prepack"),
        ("FITNESS&DIET - BARS", "Fitness & Diet - Bars"),
        ("BBQ SAUCE", "BBQ Sauce"),
        ("MEXICAN SAUCESSALSAPICANTEE", "Mexican Salsa & Picante Sauces"),
        ("DRUG GM", "Drugstore & Household"),
        ("(", "("),
        ("", ""),
    ],
)
def test_labels(raw: str, label: str) -> None:
    assert shelf_label(raw) == label


@pytest.mark.parametrize(
    ("kind", "category", "label"),
    [
        ("PREMIUM", "PASTA SAUCE", "Pasta Sauce: Premium"),
        ("CHOICE BEEF", "BEEF", "Choice Beef"),
        ("BANANAS", "TROPICAL FRUIT", "Bananas"),
        ("PREMIUM", "", "Premium"),
    ],
)
def test_a_type_that_only_qualifies_stands_behind_its_category(kind: str, category: str, label: str) -> None:
    assert item_label(kind, category) == label


@pytest.mark.parametrize(
    ("raw", "size"), [("16 OZ", "16 oz"), ("1.5 L", "1.5 L"), ("", ""), ("CTN", ""), ("2  CT", "2  ct")]
)
def test_sizes(raw: str, size: str) -> None:
    assert package_size(raw) == size


def test_no_label_shouts() -> None:
    for label in [*EXACT.values(), *ABBREVIATIONS.values()]:
        assert not label.isupper(), label
