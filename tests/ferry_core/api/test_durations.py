import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from ferry_core.api.durations import Between, Duration, Quantity

UNITS = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000}
SIZES = {"": 1, "k": 1000, "M": 1000**2, "G": 1000**3, "Ki": 1024, "Mi": 1024**2, "Gi": 1024**3}

parts = st.lists(st.tuples(st.integers(0, 99_999), st.sampled_from(list(UNITS))), min_size=1, max_size=4)


class Model(BaseModel):
    wait: Duration = Duration("1s")
    room: Quantity = Quantity("8Mi")


@given(parts)
def test_a_duration_is_the_sum_of_its_parts_and_keeps_its_text(written: list[tuple[int, str]]) -> None:
    text = "".join(f"{number}{unit}" for number, unit in written)
    duration = Duration(text)
    assert duration == sum(number * UNITS[unit] for number, unit in written) / 1000
    assert str(duration) == text
    assert pickle.loads(pickle.dumps(duration)).text == text
    assert copy.deepcopy(duration).text == text


@given(st.integers(0, 10**12), st.sampled_from(list(SIZES)))
def test_a_quantity_is_bytes_and_keeps_its_text(number: int, unit: str) -> None:
    quantity = Quantity(f"{number}{unit}")
    assert quantity == number * SIZES[unit]
    assert str(copy.copy(quantity)) == f"{number}{unit}"


@given(st.text(max_size=12))
def test_any_other_text_is_refused_or_keeps_its_meaning(text: str) -> None:
    for kind in (Duration, Quantity):
        try:
            value = kind(text)
        except ValueError:
            continue
        assert value >= 0
        assert str(value) == text
        assert text.isascii()


@pytest.mark.parametrize("text", ["", "5", "s", "-5s", "1.5s", "5 s", "1d", "5S", "\u0665s", "1s\n", "9" * 40 + "s"])
def test_invalid_durations(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        Duration(text)


@pytest.mark.parametrize("text", ["", "-5Mi", "1.5Mi", "8MB", "8mi", "8 Mi", "Mi", "8Mi\n", "9" * 21])
def test_invalid_quantities(text: str) -> None:
    with pytest.raises(ValueError, match="is not a quantity"):
        Quantity(text)


def test_models_read_text_and_write_it_back() -> None:
    model = Model.model_validate({"wait": "1h30m", "room": "64Ki"})
    assert (model.wait, model.room) == (5400.0, 65536)
    assert model.model_dump_json() == '{"wait":"1h30m","room":"64Ki"}'
    assert Model.model_validate_json(model.model_dump_json()) == model


@pytest.mark.parametrize("bad", [{"wait": 5}, {"wait": None}, {"wait": "soon"}, {"room": 8}, {"room": "8MB"}])
def test_models_refuse_other_types(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Model.model_validate(bad)


def test_bounds_are_also_in_the_schema_as_cel() -> None:
    assert Between(Duration("1s"), Duration("10m")).cel == (
        "duration(self) >= duration('1s') && duration(self) <= duration('10m')"
    )
    assert Between(Quantity("64Ki"), Quantity("1Gi")).cel == (
        "quantity(self).compareTo(quantity('64Ki')) >= 0 && quantity(self).compareTo(quantity('1Gi')) <= 0"
    )
