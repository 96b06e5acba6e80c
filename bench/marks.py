"""The marks in documents between which a table stands that no editor typed."""

import re
from collections.abc import Callable

__all__ = ["filled"]

_TABLE = re.compile(r"(<!-- table (?P<name>[\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def filled(page: str, text_of: Callable[[str], str]) -> str:
    """The page with ``text_of`` the table's name between the marks of each table."""
    return _TABLE.sub(lambda marked: f"{marked[1]}\n{text_of(marked['name'])}\n\n{marked[3]}", page)
