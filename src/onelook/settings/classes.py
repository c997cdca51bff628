"""Classes that the user asks for, by number or by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator

from onelook.errors import SettingsError
from onelook.settings.nearest_name import nearest_name


def one_class_each(given: Any) -> Any:
    """Numbers and names of classes as a list of texts, from single ones or a list; commas separate, too.

    >>> one_class_each(["0,62", 3]), one_class_each("traffic light, car")
    (['0', '62', '3'], ['traffic light', 'car'])
    """
    items = [given] if isinstance(given, str | int) else given
    if not isinstance(items, list | tuple) or any(isinstance(item, bool) for item in items):
        return given
    if not all(isinstance(item, str | int) for item in items):
        return given
    return [text for item in items for part in str(item).split(",") if (text := part.strip())]


def class_ids_of(wanted: Sequence[int | str], names: Sequence[str]) -> tuple[int, ...]:
    """The ids of classes that were asked for by number or name; upper and lower case count as the same.

    Raises:
        SettingsError: a model with the classes `names` does not know one.

    >>> class_ids_of(["0", "Dog", 1], ["cat", "dog"])
    (0, 1, 1)
    """
    by_name = {name.casefold(): class_id for class_id, name in reversed(list(enumerate(names)))}
    found = []
    for item in wanted:
        text = str(item)
        is_number = text.removeprefix("-").isdecimal()
        class_id = int(text) if is_number else by_name.get(text.casefold(), -1)
        if not 0 <= class_id < len(names):
            raise SettingsError(
                f"setting `classes` names `{text}`; the model has classes 0 to {len(names) - 1}",
                hint=None if is_number else nearest_name(text, list(names)),
            )
        found.append(class_id)
    return tuple(found)


ClassList = Annotated[list[str], BeforeValidator(one_class_each)]
"""Numbers and names of classes."""
