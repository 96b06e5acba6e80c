"""Patterns of texts that clients send wrongly: case, blanks, Unicode forms, cut-off or empty words.

A word that training never saw and that no inverse makes known is left alone: it may be new.
"""

import math
import unicodedata
from collections.abc import Callable, Iterator, Mapping

from serinus.parity.contract import Field, Kind, Privacy
from serinus.parity.diagnosis.distance import ENOUGH, share_gap
from serinus.parity.diagnosis.moved import expected_new, field_gap, words_gap
from serinus.parity.diagnosis.suspect import Suspect
from serinus.parity.diagnosis.view import Part
from serinus.parity.profiles import FieldProfile

__all__ = ["word_suspects"]

_FEWEST = 5
_SHARE = 0.002
_RESTORED = 0.95
_SIGMAS, _SURE = 3.0, 5.0


def word_suspects(part: Part, field: Field) -> Iterator[Suspect]:
    """Every change of this field that its values in this part speak for."""
    if field.type.logical is not Kind.TEXT or field.privacy is not Privacy.PLAIN:
        return
    sketch, trained = part.field(field.name), part.view.baseline(field.name)
    yield from _empty(part, field, trained)
    known = set(field.observed.values or trained.words)
    unknown = {
        word: count
        for word, (count, error) in sketch.unknown.kept.items()
        if word and word not in known and count > error
    }
    total = sum(unknown.values())
    if total < max(_FEWEST, _SHARE * sketch.n) or not known:
        return
    # Words that training happens to lack come anyway; of the others nearly all must be restored.
    new = expected_new(trained) * sketch.n * total / max(sketch.other, total)
    least = max(_FEWEST, _RESTORED * (total - new - _SIGMAS * math.sqrt(new)), 0.1 * total)
    for name, back in _inverses(known, unknown):
        restored = {word: back(word) for word in unknown}
        good = sum(count for word, count in unknown.items() if restored[word] in known)
        if good < least:
            continue
        yield _suspect(part, field, trained, (name, unknown, restored))
        return


def _inverses(
    known: set[str], unknown: Mapping[str, int]
) -> Iterator[tuple[str, Callable[[str], str]]]:
    folded = {word.casefold(): word for word in known}
    bare = {_bare(word): word for word in known}
    yield "letter case", lambda word: folded.get(word.casefold(), word)
    yield "blanks around", str.strip
    yield "Unicode form (NFC, NFD)", lambda word: unicodedata.normalize("NFC", word)
    yield "Unicode form (NFD, NFC)", lambda word: unicodedata.normalize("NFD", word)
    yield "Unicode form (NFKC)", lambda word: unicodedata.normalize("NFKC", word)
    yield "quotes or separators", lambda word: bare.get(_bare(word), word)
    yield "wrong encoding", _recoded
    lengths = {len(word) for word in unknown}
    longer = [word for word in known if len(word) > max(lengths)]
    if len(lengths) == 1 and longer:
        firsts = {word[: max(lengths)]: word for word in longer}
        yield f"cut off after {max(lengths)} characters", lambda word: firsts.get(word, word)
    lasts = {word.lstrip("0"): word for word in known if word.startswith("0")}
    if lasts:
        yield "leading zeros lost", lambda word: lasts.get(word, word)


def _bare(word: str) -> str:
    plain = unicodedata.normalize("NFKC", word).casefold()
    return "".join(each for each in plain if each.isalnum())


def _recoded(word: str) -> str:
    try:
        return word.encode("latin-1").decode("utf-8")
    except (UnicodeEncodeError, UnicodeDecodeError):
        return word


def _suspect(
    part: Part,
    field: Field,
    trained: FieldProfile,
    change: tuple[str, Mapping[str, int], Mapping[str, str]],
) -> Suspect:
    name, unknown, restored = change
    sketch = part.field(field.name)
    words, listed = dict(sketch.words), sum(unknown.values())
    # Only the most frequent unknown words are listed; the others are as these are.
    scale = max(sketch.other, listed) / listed
    other = 0.0
    for word, count in unknown.items():
        if restored[word] in trained.words:
            words[restored[word]] = words.get(restored[word], 0) + round(count * scale)
        else:
            other += count * scale
    before = field_gap(part.view, field, sketch)
    shown = ", ".join(f"'{word}' for '{restored[word]}'" for word in list(unknown)[:3])
    rows = part.rows
    column = rows.columns.get(field.name)
    strange = [at for at, word in enumerate(column.words) if word in unknown] if column else []
    return Suspect(
        part,
        [field.name],
        name,
        f"{sketch.other} of {sketch.n} values of '{field.name}' were unknown to training and are "
        f"known but for the {name}: {shown}",
        sketch.other / max(sketch.n, 1),
        before,
        # A word that was cut off may stand for several; its counts can't come back.
        None if name.startswith("cut off") else words_gap(trained, words, round(other)),
        # One word alone that is the beginning of another may be a new one.
        hard=not name.startswith("cut off") or len(unknown) > 1 or not sketch.words,
        besides="each is how a word of training begins" if name.startswith("cut off") else "",
        rows=rows.examples([each in strange for each in column.values]) if column else [],
    )


def _empty(part: Part, field: Field, trained: FieldProfile) -> Iterator[Suspect]:
    sketch = part.field(field.name)
    usual = trained.empty / max(trained.n, 1)
    share = sketch.empty / max(sketch.n, 1)
    if sketch.empty < _FEWEST or share < usual + 0.005:
        return
    if share_gap(sketch.empty, sketch.n, usual, trained.n) < _SURE:
        return
    words = {word: count for word, count in sketch.words.items() if word}
    before = field_gap(part.view, field, sketch)
    after = words_gap(trained, words, max(sketch.other - sketch.empty, 0))
    if after.apart and sketch.n >= ENOUGH and before is not None and after.psi > before.psi / 4:
        after = before
    rows, column = part.rows, part.rows.columns.get(field.name)
    blank = column.words.index("") if column is not None and "" in column.words else None
    yield Suspect(
        part,
        [field.name],
        "null as ''",
        f"{share:.1%} of '{field.name}' are empty texts, {usual:.1%} in training",
        share - usual,
        before,
        after,
        hard=not usual,
        rows=rows.examples(column.values == blank) if column and blank is not None else [],
    )
