"""Shortest odd cycles of signed graphs: the obstruction to colouring the vertices with two signs.

Vertices can be given signs s with s_a s_b = w for every edge (a, b, w) iff no cycle has an odd number of edges w = -1. On the double cover, with the
vertices (v, +) and (v, -), an odd cycle through v is a path from (v, +) to (v, -): breadth first finds the shortest.

Harary (1953), On the notion of balance of a signed graph.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping

__all__ = ["odd_cycle"]

Step = tuple[int, int]


def odd_cycle(edges: Iterable[tuple[int, int, int]]) -> tuple[int, ...]:
    """Vertices of a shortest cycle with an odd number of edges (a, b, -1), without repeating the first; empty if there is none.

    Edges may be parallel: two of opposite sign make a cycle of two vertices.
    """
    steps: dict[int, set[Step]] = defaultdict(set)
    for a, b, sign in edges:
        steps[a].add((b, sign))
        steps[b].add((a, sign))
    if _balanced(steps):
        return ()
    best: tuple[int, ...] = ()
    for vertex in sorted(steps):
        best = _through(vertex, steps, len(best)) or best
    return best


def _balanced(steps: Mapping[int, set[Step]]) -> bool:
    """Whether two colours do."""
    colour: dict[int, int] = {}
    for start in steps:
        if start in colour:
            continue
        colour[start], queue = 1, deque([start])
        while queue:
            a = queue.popleft()
            for b, sign in steps[a]:
                if b not in colour:
                    colour[b] = sign * colour[a]
                    queue.append(b)
                elif colour[b] != sign * colour[a]:
                    return False
    return True


def _through(vertex: int, steps: Mapping[int, set[Step]], shorter_than: int) -> tuple[int, ...]:
    """A shortest odd cycle through a vertex, if it is shorter than so many vertices (0: any)."""
    before: dict[Step, Step | None] = {(vertex, 1): None}
    queue = deque([(vertex, 1)])
    while queue:
        a, side = queue.popleft()
        for b, sign in sorted(steps[a]):
            there = (b, side * sign)
            if there in before:
                continue
            before[there] = (a, side)
            if there == (vertex, -1):
                path = _path(there, before)
                return path if not shorter_than or len(path) < shorter_than else ()
            queue.append(there)
    return ()


def _path(end: Step, before: Mapping[Step, Step | None]) -> tuple[int, ...]:
    path = []
    step = before[end]
    while step is not None:
        path.append(step[0])
        step = before[step]
    return tuple(reversed(path))
