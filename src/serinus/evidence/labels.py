"""Which sets of labels are compared: fixed by what the old version predicted before. Pure.

Never looks at the counts that are then compared, so looking at the data cannot choose the question.
"""

from dataclasses import dataclass

import numpy as np

from serinus.evidence.eprocess import Floats

__all__ = ["LabelSets"]

#: Labels are gathered into at most this many groups.
_MOST_GROUPS = 10


@dataclass(frozen=True, slots=True)
class LabelSets:
    """Sets of prediction labels, and how to count into them."""

    names: tuple[str, ...]
    #: Label → its column; labels that are not here share the last one.
    columns: dict[str, int]
    #: 1 where a column belongs to a set; axes are (column, set).
    members: Floats

    @classmethod
    def of(cls, past: dict[str, int]) -> "LabelSets":
        """From the old version's past predictions, which must not be empty.

        Labels that are whole numbers have an order and are cut into groups of about equal weight:
        all up to each group is a set, and so is each group. Other labels stand alone; the rarest
        and those never seen are together.
        """
        if all(label.removeprefix("-").isdecimal() for label in past):
            groups = _groups(past)
        else:
            common = sorted(past, key=lambda label: (-past[label], label))
            groups = [[label] for label in common[: _MOST_GROUPS - 1]]
            return cls._alone(groups)
        return cls._ordered(groups)

    @classmethod
    def _alone(cls, groups: list[list[str]]) -> "LabelSets":
        columns = {group[0]: place for place, group in enumerate(groups)}
        return cls((*columns, "(all others)"), columns, np.eye(len(groups) + 1))

    @classmethod
    def _ordered(cls, groups: list[list[str]]) -> "LabelSets":
        columns = {label: place for place, group in enumerate(groups) for label in group}
        count = len(groups)
        # One group's set says the same as its complement: with two groups one set is enough.
        upto = max(count - 1, 1)
        below = np.triu(np.ones((count + 1, count)))[:, :upto]
        alone = np.eye(count + 1, count)[:, 1:upto]
        names = [f"up to {group[-1]}" for group in groups[:upto]]
        names += [_span(group) for group in groups[1:upto]]
        return cls(tuple(names), columns, np.hstack((below, alone)))

    def count(self, windows: list[dict[str, int]]) -> tuple[Floats, Floats]:
        """Predictions in each set (window, set), and of all (window, 1)."""
        table = np.zeros((len(windows), len(self.members)))
        for row, counts in zip(table, windows, strict=True):
            for label, number in counts.items():
                row[self.columns.get(label, -1)] += number
        return table @ self.members, table.sum(axis=1, keepdims=True)


def _groups(past: dict[str, int]) -> list[list[str]]:
    total = sum(past.values())
    groups: list[list[str]] = [[]]
    weight = 0
    for label in sorted(past, key=int):
        groups[-1].append(label)
        weight += past[label]
        if weight * _MOST_GROUPS >= total * len(groups):
            groups.append([])
    return [group for group in groups if group]


def _span(group: list[str]) -> str:
    return group[0] if len(group) == 1 else f"{group[0]} to {group[-1]}"
