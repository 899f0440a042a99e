"""The meaning of every key is written once, in the docstring of its Struct."""

from __future__ import annotations

import msgspec
import pytest

from schemas.descriptions import attributes, structs_within, summary
from schemas.json_schema import CONTRACTS


class Inner(msgspec.Struct):
    """Within."""


class Outer(msgspec.Struct):
    """What it is.

    A second paragraph.

    Attributes:
        first, second: the same
            for both: really.
        third: `code` stays as it is.
    """

    first: int
    second: list[dict[str, Inner | None]]
    third: Inner


class Undocumented(msgspec.Struct):
    key: int


def test_the_texts_of_a_docstring() -> None:
    assert summary(Outer) == "What it is.\n\nA second paragraph."
    assert attributes(Outer) == {
        "first": "The same for both: really.",
        "second": "The same for both: really.",
        "third": "`code` stays as it is.",
    }


def test_a_docstring_without_attributes() -> None:
    assert (summary(Inner), attributes(Inner)) == ("Within.", {})
    assert attributes(Undocumented) == {}


def test_a_line_that_belongs_to_no_attribute_is_refused() -> None:
    class Wrong(msgspec.Struct):
        """What it is.

        Attributes:
            key: right.
          wrong
        """

        key: int

    with pytest.raises(ValueError, match=r"Wrong: .*wrong"):
        attributes(Wrong)


def test_structs_are_found_wherever_they_are() -> None:
    assert structs_within(Outer) == [Outer, Inner]


STRUCTS = {
    struct.__name__: struct
    for contract in CONTRACTS.values()
    for struct in structs_within(contract)
}


@pytest.mark.parametrize("name", STRUCTS)
def test_every_field_of_the_contracts_is_described(name: str) -> None:
    struct = STRUCTS[name]
    assert summary(struct)
    assert set(attributes(struct)) == set(struct.__struct_fields__)
