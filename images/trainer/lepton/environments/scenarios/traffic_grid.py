"""The streets of traffic-signals: junctions in a grid, and which link leads where.

Places: an approach is where vehicles with a heading wait at a junction, an exit where they leave it
with that heading. Both are numbered heading * junctions + junction; junctions are numbered row by
row from the north-west.
"""

from dataclasses import dataclass
from functools import cached_property

NORTH, EAST, SOUTH, WEST = range(4)
"""Headings of vehicles, clockwise."""


@dataclass(frozen=True)
class Grid:
    """Streets that cross, each with a link in either direction between neighbouring junctions."""

    rows: int
    columns: int

    @property
    def junctions(self) -> int:
        return self.rows * self.columns

    @property
    def places(self) -> int:
        """How many approaches there are, and exits."""
        return 4 * self.junctions

    def place(self, heading: int, row: int, column: int) -> int:
        return heading * self.junctions + row * self.columns + column

    @cached_property
    def links(self) -> tuple[tuple[int, int], ...]:
        """The exit that each link begins with and the approach that it ends in."""
        found = []
        for row in range(self.rows):
            for column in range(self.columns):
                for heading, (down, right) in enumerate(((-1, 0), (0, 1), (1, 0), (0, -1))):
                    to_row, to_column = row + down, column + right
                    if 0 <= to_row < self.rows and 0 <= to_column < self.columns:
                        found.append(
                            (
                                self.place(heading, row, column),
                                self.place(heading, to_row, to_column),
                            )
                        )
        return tuple(found)

    @cached_property
    def link_starts(self) -> tuple[int, ...]:
        """Exits that lead onto links, in the order of the links."""
        return tuple(start for start, _ in self.links)

    @cached_property
    def link_ends(self) -> tuple[int, ...]:
        """Approaches that links lead to, in their order."""
        return tuple(end for _, end in self.links)

    @cached_property
    def entries(self) -> tuple[int, ...]:
        """Approaches that vehicles reach from outside."""
        return tuple(place for place in range(self.places) if place not in self.link_ends)

    @cached_property
    def source_of_approach(self) -> tuple[int, ...]:
        """Of each approach, its place in a list of the entries followed by the links."""
        sources = self.entries + self.link_ends
        return tuple(sources.index(place) for place in range(self.places))

    @cached_property
    def link_of_exit(self) -> tuple[int, ...]:
        """Of each exit, its link, or their number where it leads out of the network."""
        links = {start: number for number, start in enumerate(self.link_starts)}
        return tuple(links.get(place, len(links)) for place in range(self.places))

    def heading(self, place: int) -> int:
        return place // self.junctions
