"""`trio_ws.__all__` is the public API: complete, sorted, and true."""

from __future__ import annotations
import __future__

import types

import trio_ws


def test_all_is_sorted_and_without_doubles() -> None:
    assert list(trio_ws.__all__) == sorted(set(trio_ws.__all__))


def test_every_name_in_all_can_be_imported() -> None:
    assert [name for name in trio_ws.__all__ if not hasattr(trio_ws, name)] == []


def test_nothing_public_is_missing_from_all() -> None:
    assert public_names(trio_ws) - set(trio_ws.__all__) == set()


def test_a_forgotten_name_is_found() -> None:
    package = types.ModuleType("package")
    package.forgotten = object()  # type: ignore[attr-defined]
    package._private = object()  # type: ignore[attr-defined]
    package.submodule = types.ModuleType("package.submodule")  # type: ignore[attr-defined]
    package.foreign = types.ModuleType("foreign")  # type: ignore[attr-defined]
    assert public_names(package) == {"forgotten", "foreign"}


def public_names(package: types.ModuleType) -> set[str]:
    """All names in ``package`` without an underscore, except its own modules: those appear when imported."""
    return {
        name
        for name, value in vars(package).items()
        if not name.startswith("_")
        and not isinstance(value, __future__._Feature)  # `from __future__ import annotations`
        and not (isinstance(value, types.ModuleType) and value.__name__.startswith(f"{package.__name__}."))
    }
