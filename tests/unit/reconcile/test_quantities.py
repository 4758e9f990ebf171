"""Kubernetes' quantities as numbers and back."""

from decimal import ROUND_DOWN, ROUND_UP, Decimal

import pytest

from lepton_operator.reconcile.quantities import in_mebibytes, memory_text, quantity


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("64Mi", 64 * 2**20),
        ("1.5Gi", 3 * 2**29),
        (2, 2),
        ("500m", Decimal("0.5")),
        ("1e3", 1000),
        ("1E", 10**18),
        ("2k", 2000),
        (".5", Decimal("0.5")),
    ],
)
def test_a_quantity_is_a_number(text, number):
    assert quantity(text) == number


@pytest.mark.parametrize("text", ["", "many", "1 Gi", "1Zi", "Gi"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="is no quantity"):
        quantity(text)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(3 * 2**30, "3Gi"), (1536 * 2**20, "1536Mi"), (10**9, "1000000000"), (Decimal("0.5"), "1")],
)
def test_memory_is_told_in_the_largest_whole_unit(amount, text):
    assert memory_text(amount) == text


def test_memory_is_rounded_to_mebibytes_as_asked():
    assert in_mebibytes(Decimal(2**20 + 1), ROUND_UP) == 2 * 2**20
    assert in_mebibytes(Decimal(2**21 - 1), ROUND_DOWN) == 2**20
