"""Every decoder type of the installed Transformers: what arithmetic proves of it."""

import pytest

from zoo.decoders import row, survey, written
from zoo.every_type import decoder_types


@pytest.mark.slow
@pytest.mark.parametrize("name", decoder_types())
def test_what_is_proven_of_a_type_is_what_the_table_says(name):
    _, rows = written()
    assert row(survey(name)) == rows[name]
