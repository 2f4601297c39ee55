"""Gates of a simulation: made for each seed, and the worst of all seeds kept."""

from collections.abc import Iterable

from tests.bench.report import Gate


def at_least(name: str, value: float, limit: float) -> Gate:
    return Gate(gate=name, value=round(value, 4), limit=limit, holds=value >= limit)


def at_most(name: str, value: float, limit: float) -> Gate:
    return Gate(gate=name, value=round(value, 4), limit=limit, holds=value <= limit)


def worst(gates: Iterable[Gate]) -> list[Gate]:
    """One gate of each name: the one that misses its limit by most, or else comes closest to it."""
    kept: dict[str, Gate] = {}
    for gate in gates:
        known = kept.get(gate.gate)
        if known is None or _margin(gate) < _margin(known):
            kept[gate.gate] = gate
    return list(kept.values())


def _margin(gate: Gate) -> float:
    distance = abs(gate.value - gate.limit)
    return distance if gate.holds else -distance
