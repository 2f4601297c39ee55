"""How much a component remembers: the length of every container that its objects hold, by the path to it."""

from collections.abc import Iterator
from typing import Any, Final

OURS: Final = ("pipeline.", "processors.", "topics.")
LOOKED_INTO: Final = 64
"""Objects in a container are looked into where there are no more than this: more are things, fewer are parts."""


def sizes(root: object, name: str) -> dict[str, int]:
    """Lengths by path, e.g. `scheduler._placements._by_origin`. What several paths lead to is counted once."""
    found: dict[str, int] = {}
    seen: set[int] = set()
    waiting: list[tuple[str, object]] = [(name, root)]
    while waiting:
        path, thing = waiting.pop()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, dict | list | set | tuple) or hasattr(thing, "maxlen"):
            found[path] = found.get(path, 0) + len(thing)  # type: ignore[arg-type]
            if len(thing) <= LOOKED_INTO:  # type: ignore[arg-type]
                waiting += [(f"{path}[]", part) for part in _parts(thing)]
        elif type(thing).__module__.startswith(OURS):
            waiting += [(f"{path}.{field}", value) for field, value in _fields(thing)]
    return found


def _parts(container: Any) -> Iterator[object]:
    yield from container.values() if isinstance(container, dict) else container


def _fields(thing: object) -> Iterator[tuple[str, object]]:
    names = list(getattr(thing, "__dict__", ()))
    names += [name for kind in type(thing).__mro__ for name in getattr(kind, "__slots__", ())]
    names += getattr(thing, "__struct_fields__", ())
    for name in dict.fromkeys(names):
        value = getattr(thing, name, None)
        if value is not None and not callable(value):
            yield name, value
