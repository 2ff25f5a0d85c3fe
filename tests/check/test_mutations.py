"""Every deliberately broken rule is caught, at the right leaf, with the right reason."""

import pytest
from check.broken import LINEAR, POINTWISE, SPACE

from purenet import check

MUTATIONS = (*LINEAR, *POINTWISE, *SPACE)
GRADIENTS = ("hand rule", "forward's autodiff", "kinks")


def named(row):
    """The dearer ones run on one Python only."""
    return pytest.param(
        row,
        id=row.name.replace(" ", "-"),
        marks=[pytest.mark.slow] if any(row is one for one in (*POINTWISE, *SPACE)) else [],
    )


@pytest.mark.parametrize("row", [named(row) for row in MUTATIONS])
def test_broken_rules_are_caught(row):
    with pytest.raises(check.CheckError) as caught:
        check.layer(row.net, row.spec, laws=GRADIENTS, inputs=row.inputs, draws=2)
    failures = [failure for failure in caught.value.report.failures if failure.law == row.law]
    assert [failure.leaf for failure in failures] == [row.leaf], caught.value
    assert any(words in failures[0].reason for words in row.words.split("|")), caught.value


def test_the_table_is_long_enough():
    assert len(MUTATIONS) >= 40
    assert len({row.name for row in MUTATIONS}) == len(MUTATIONS)
