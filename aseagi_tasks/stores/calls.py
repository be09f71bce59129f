"""A protocol's calls as JSON and back, by its own annotations: what worker gateway and rented machines say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from aseagi_tasks.errors import AseagiError, Malformed, by_name
from aseagi_tasks.stores.query import storable


class Call:
    """One method of a protocol.

    Args:
        method: the function, with annotations.
    """

    def __init__(self, method: Any) -> None:
        self.name: str = method.__name__
        hints = get_type_hints(method)
        self._signature = inspect.signature(method)
        names = [name for name in self._signature.parameters if name != "self"]
        self._arguments: dict[str, TypeAdapter[Any]] = {name: TypeAdapter(hints[name]) for name in names}
        answer = hints["return"]
        if get_origin(answer) is Iterator:  # comes as a whole
            answer = list[get_args(answer)[0]]  # type: ignore[misc]
        self._answer: TypeAdapter[Any] = TypeAdapter(answer)

    def arguments(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Arguments as JSON values, by name."""
        given = self._signature.bind(None, *args, **kwargs).arguments
        return {
            name: storable(self._arguments[name].dump_python(value, mode="json"))
            for name, value in given.items()
            if name != "self"
        }

    def parsed(self, body: object) -> dict[str, Any]:
        """Arguments for the method, from JSON values.

        Raises:
            Malformed: one is missing, unknown or of another type.
        """
        if not isinstance(body, Mapping) or not set(body) <= set(self._arguments):
            raise Malformed(self.name, "there are other arguments")
        try:
            values = {name: self._arguments[name].validate_python(value) for name, value in body.items()}
            self._signature.bind(None, **values)
        except (ValidationError, TypeError) as exc:
            raise Malformed(self.name, str(exc)[:300]) from exc
        return values

    def answer(self, value: Any) -> Any:
        """What the method returned, as a JSON value."""
        return self._answer.dump_python(value, mode="json")

    def answered(self, value: Any) -> Any:
        """What the method returned, from a JSON value."""
        return self._answer.validate_python(value)


def calls_of(protocol: type) -> dict[str, Call]:
    """Every method of a protocol, by name."""
    methods = inspect.getmembers(protocol, inspect.isfunction)
    return {name: Call(method) for name, method in methods if not name.startswith("_")}


def error_body(exc: AseagiError) -> dict[str, Any]:
    """An error as JSON: its class's name and its arguments."""
    return {"error": str(exc), "class": type(exc).__name__, "args": [_plain(arg) for arg in exc.args]}


def error_of(body: Any) -> AseagiError:
    """The error that ``error_body`` was made of."""
    if not isinstance(body, Mapping) or not isinstance(body.get("args"), list):
        return AseagiError(f"The gateway refused, and said: {str(body)[:300]}")
    return by_name(str(body.get("class")))(*body["args"])


def _plain(arg: object) -> object:
    return arg if isinstance(arg, (str, int, float)) else str(arg)
