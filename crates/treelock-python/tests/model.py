"""The reference model: rule C1 word for word, scanning all live requests.

    A request waits exactly for the earlier live requests that conflict with it, and is granted as
    soon as there are none.

It knows nothing about Python's paths, event loops or threads. A place is a tuple of names, the
first of which names the tree. So its answers do not depend on the code that it judges.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

Place = tuple[str, ...]


class Claim(NamedTuple):
    """One root of a request, as the model sees it."""

    access: str
    place: Place


def conflict(one: Sequence[Claim], other: Sequence[Claim]) -> bool:
    """Returns whether some of their roots meet, and at least one of these two writes."""
    return any(
        _meet(a.place, b.place) and "write" in (a.access, b.access) for a in one for b in other
    )


def _meet(one: Place, other: Place) -> bool:
    common = min(len(one), len(other))
    return one[:common] == other[:common]


@dataclass
class Live:
    """A live request: waiting or held."""

    name: str
    claims: Sequence[Claim]
    held: bool = False


class Model:
    """All live requests in the order of arrival."""

    def __init__(self) -> None:
        self.live: list[Live] = []

    def ask(self, name: str, claims: Sequence[Claim]) -> None:
        """Puts a request in line, or grants it if nothing is in its way."""
        self.live.append(Live(name, claims))
        self._settle()

    def leave(self, name: str) -> None:
        """Removes a request, whether it waits or holds; does nothing if it is not live."""
        self.live = [live for live in self.live if live.name != name]
        self._settle()

    def blockers(self, claims: Sequence[Claim]) -> list[Live]:
        """Returns the requests that a new request would wait for, the earliest first."""
        return list(self._in_the_way(len(self.live), claims))

    def is_live(self, name: str) -> bool:
        """Returns whether a request waits or holds."""
        return any(live.name == name for live in self.live)

    def held(self) -> set[str]:
        """Returns the names of the requests that hold."""
        return {live.name for live in self.live if live.held}

    def waits_for(self, index: int) -> str | None:
        """Returns the earliest request that the one at ``index`` waits for, if it is not held."""
        return next((live.name for live in self._in_the_way(index, self.live[index].claims)), None)

    def _in_the_way(self, index: int, claims: Sequence[Claim]) -> Iterator[Live]:
        return (earlier for earlier in self.live[:index] if conflict(earlier.claims, claims))

    def _settle(self) -> None:
        for index, live in enumerate(self.live):
            free = self.waits_for(index) is None
            assert free or not live.held, "the model took a lock back"
            live.held = free
