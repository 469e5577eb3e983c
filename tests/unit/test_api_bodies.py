"""What bodies may hold, in JSON and in forms."""

from __future__ import annotations

import json
import math
from base64 import b64encode
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from app.api.bodies import EnrolBody, GalleryBody, KeyBody, QualityBody, VerifyBody
from app.api.forms import parse_json
from app.api.names import TEMPLATE
from app.api.training_bodies import TrainBody
from app.core.errors import InvalidInput
from app.core.records import Scope
from app.services.identifiers import is_person_id
from app.services.outcomes import OnDuplicate
from app.services.training_spec import TrainingSpec

JSON_VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)
FIELDS = {"image": "aGVsbG8="}


@settings(max_examples=40)
@given(st.dictionaries(st.text(), JSON_VALUES))
def test_json_objects_are_read(value: dict[str, Any]) -> None:
    assert parse_json(json.dumps(value).encode()) == value


def slug_of(raw: bytes) -> str | None:
    try:
        parse_json(raw)
    except InvalidInput as error:
        return error.slug
    return None


@given(st.binary(max_size=200))
def test_other_bytes_are_named_problems(raw: bytes) -> None:
    assert slug_of(raw) in (None, "malformed_request", "invalid_request")


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b'{"a": 1, "a": 2}',
        b'{"a": {"b": 1, "b": 1}}',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"\xff\xfe{\x00}\x00",
        b"\xef\xbb\xbf{}",
        b'{"a": "\xff"}',
    ],
)
def test_broken_json(raw: bytes) -> None:
    assert slug_of(raw) == "malformed_request"


@given(st.binary(min_size=1, max_size=300))
def test_images_come_as_base64_or_data_urls(data: bytes) -> None:
    text = b64encode(data).decode()
    for image in (text, f"data:image/png;base64,{text}"):
        assert QualityBody.model_validate({"image": image}, strict=True).image == data
    assert QualityBody.model_validate({"image": data}).image == data


@pytest.mark.parametrize(
    "image", ["", "a", "aGVsbG8", "aGVs\nbG8=", "-_-_", "é", "\ud800", "data:", 7]
)
def test_other_images_are_refused(image: Any) -> None:
    with pytest.raises(ValidationError):
        QualityBody.model_validate({"image": image}, strict=True)


@pytest.mark.parametrize("dpi", [0, -1, math.nan, math.inf, 10**400, "500", True])
def test_a_resolution_is_a_finite_positive_number(dpi: Any) -> None:
    with pytest.raises(ValidationError):
        QualityBody.model_validate({**FIELDS, "dpi": dpi}, strict=True)


@pytest.mark.parametrize("dpi", ["nan", "inf", "-1", "1e999", "", "five hundred"])
def test_so_it_is_in_a_form(dpi: str) -> None:
    with pytest.raises(ValidationError):
        QualityBody.model_validate({"image": b"x", "dpi": dpi})
    assert QualityBody.model_validate({"image": b"x", "dpi": "508.0"}).dpi == 508.0


@pytest.mark.parametrize("name", ["", "-a", "a/b", "a b", "a\n", "a\x00", "ä", "a" * 129, "\ud800"])
def test_names_of_persons(name: str) -> None:
    with pytest.raises(ValidationError):
        EnrolBody.model_validate({**FIELDS, "person_id": name}, strict=True)


def test_a_misspelt_field_is_noticed() -> None:
    with pytest.raises(ValidationError, match="person"):
        EnrolBody.model_validate({**FIELDS, "person": "alice"}, strict=True)


def test_one_image_or_several() -> None:
    assert EnrolBody.model_validate(FIELDS, strict=True).samples() == (b"hello",)
    several = {"images": ["aGVsbG8=", "YWdhaW4="], "on_duplicate": "warn"}
    body = EnrolBody.model_validate(several, strict=True)
    assert body.samples() == (b"hello", b"again")
    assert body.on_duplicate is OnDuplicate.WARN
    wrongs: list[dict[str, Any]] = [{}, {**FIELDS, **several}, {"images": []}]
    for wrong in wrongs:
        with pytest.raises(ValidationError):
            EnrolBody.model_validate(wrong, strict=True)


def test_a_claim_names_a_person_or_a_template() -> None:
    for wrong in ({}, {"person_id": "a", "template_id": "b"}):
        with pytest.raises(ValidationError, match="either"):
            VerifyBody.model_validate({**FIELDS, **wrong}, strict=True)


@pytest.mark.parametrize("rate", [0, 1, -0.1, 2, math.nan])
def test_rates_lie_between_none_and_all(rate: float) -> None:
    with pytest.raises(ValidationError):
        VerifyBody.model_validate({**FIELDS, "person_id": "a", "fmr": rate}, strict=True)


@pytest.mark.parametrize("pattern", ["(", "a{99999999999999}", "(?P<a>", "\x00", "x" * 201])
def test_patterns_compile(pattern: str) -> None:
    with pytest.raises(ValidationError):
        TrainBody.model_validate({"pattern": pattern}, strict=True)


def test_a_training_order_is_one_for_the_worker() -> None:
    body = TrainBody.model_validate({"steps": 5, "promote": "if_better"}, strict=True)
    assert TrainingSpec.from_dict(body.model_dump(exclude={"on_conflict"})) == TrainingSpec(
        steps=5, promote="if_better"
    )
    asked = TrainBody().model_dump(exclude={"on_conflict"})
    assert asked | {"recipe_data": None} == TrainingSpec().to_dict()


def test_a_training_order_may_bring_its_recipe() -> None:
    brought = {"name": "mine", "loss": {"kind": "contrastive"}}
    body = TrainBody.model_validate({"recipe": brought, "transfer": "stripes"}, strict=True)
    spec = TrainingSpec.from_dict(body.model_dump(exclude={"on_conflict"}))
    assert (spec.recipe, spec.recipe_data, spec.transfer) == ("mine", brought, "stripes")


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {"name": "mine"}
    for _ in range(levels):
        found = {"name": [found]}
    return found


@pytest.mark.parametrize(
    "recipe",
    [
        5,
        None,
        ["stripes"],
        "",
        "a b",
        "a\n",
        "x" * 129,
        nested(4),
        nested(400),
        {"a": "x" * 65_536},
    ],
    ids=range(10),
)
def test_what_is_no_recipe_by_its_size_is_refused(recipe: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainBody.model_validate({"recipe": recipe}, strict=True)
    assert [error["loc"] for error in caught.value.errors()] == [("recipe",)]


def test_choices_are_named_where_none_fits() -> None:
    assert KeyBody.model_validate({"name": "n", "scopes": ["train"]}, strict=True).scopes == [
        Scope.TRAIN
    ]
    with pytest.raises(ValidationError, match="encrypted"):
        GalleryBody.model_validate({"store_images": "always"}, strict=True)


@given(st.from_regex(TEMPLATE.replace("$", r"\Z"), alphabet=st.characters(codec="ascii")))
def test_a_template_id_that_the_pattern_lets_through_can_be_claimed(template_id: str) -> None:
    VerifyBody(image=b"x", template_id=template_id)
    assert is_person_id(template_id)


@pytest.mark.parametrize("template_id", ["_a", "-a", "", "a" * 65, "a/b"])
def test_a_template_id_that_could_not_be_one_is_refused(template_id: str) -> None:
    with pytest.raises(ValidationError):
        VerifyBody(image=b"x", template_id=template_id)
