"""Every error says what it has to say, and says the same after a journey through the result backend."""

from __future__ import annotations

import pickle
from string import Formatter

import pytest
from celery.backends.base import Backend

from aseagi_tasks import errors
from aseagi_tasks.celery import app
from aseagi_tasks.errors import AseagiError, by_name


def tree(cls: type[AseagiError] = AseagiError) -> list[type[AseagiError]]:
    return [cls, *(below for child in cls.__subclasses__() for below in tree(child))]


def example(cls: type[AseagiError]) -> AseagiError:
    """One of the class, with an argument for each place in its sentence."""
    fields = {field for _, field, _, _ in Formatter().parse(cls.template) if field is not None}
    values: list[object] = [f"<{n}>" for n in range(len(fields))] or ["something went wrong"]
    if cls in (errors.RateLimited, errors.BudgetExceeded, errors.CapReached):
        values[1:3] = [2.5] * len(values[1:3])
    return cls(*values)


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
def test_error_survives_the_result_backend(cls: type[AseagiError]) -> None:
    error = example(cls)
    backend = Backend(app, serializer="json")
    returned = backend.exception_to_python(backend.prepare_exception(error, "json"))
    assert type(returned) is cls
    assert (str(returned), returned.args) == (str(error), error.args)
    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "<0>" in str(error) or "{0" not in cls.template


@pytest.mark.parametrize("cls", tree(), ids=lambda cls: cls.__name__)
def test_error_is_found_by_its_name_and_has_an_exit_code(cls: type[AseagiError]) -> None:
    assert by_name(cls.__name__) is cls
    assert 1 <= cls.exit_code <= 7
    assert cls.__name__ in (errors.__doc__ or "") or cls in (AseagiError, errors.TransientError)


def test_exit_codes_tell_classes_apart() -> None:
    codes = {cls: cls.exit_code for cls in AseagiError.__subclasses__()}
    assert len(set(codes.values())) == len(codes)
    assert by_name("SomethingElse") is AseagiError


def test_error_with_missing_arguments_still_says_what_it_has() -> None:
    assert str(errors.TooLarge("a.pdf")) == "a.pdf"
