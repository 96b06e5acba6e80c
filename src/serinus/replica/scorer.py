"""Answers a handful of requests at once: read, group, predict, cut apart.

One request's mistake must never cost another its answer, and nothing that a model does short of
ending the process may get past this.
"""

import logging
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Protocol

import msgspec

from serinus.errors import BadRequest, DeadlineExceeded, InternalError, SerinusError, described
from serinus.replica.answer import (
    BadAnswer,
    Uncuttable,
    body,
    count_rows,
    cut,
    error_body,
)
from serinus.replica.answered import Times
from serinus.replica.loaded import Model
from serinus.replica.nulled import Nulled
from serinus.replica.oip import OpenInference
from serinus.replica.origin import marks
from serinus.replica.protocol import Format, Frame, Kind
from serinus.replica.sizes import Sizes
from serinus.replica.unit import Unit

__all__ = ["Observer", "Request", "Scorer", "given_up"]

_log = logging.getLogger(__name__)
_U32 = 0xFFFFFFFF
#: To ask an enumeration for its member costs more than what is done with it.
_RESPONSE, _JSON, _OIP = Kind.RESPONSE, Format.JSON, Format.OIP


class Request(msgspec.Struct, gc=False):
    """A REQUEST frame and when it came, on the scorer's clock."""

    frame: Frame
    received: float
    #: Where the answer goes; nothing here looks at it.
    peer: Any = None


class Observer(Protocol):
    """What is told of each request after it was worked on; it must return at once."""

    def answered(
        self,
        requests: Sequence[Frame],
        units: Sequence[Unit],
        answers: Sequence[Frame],
        output: Any,
        times: Times | None = None,
    ) -> None:
        """The model answered these together."""
        ...

    def refused(self, request: Frame, error: SerinusError) -> None:
        """The request could not be read."""
        ...


class _Wrong(Exception):
    """Not an answer: the rows are not those that were asked for."""


class Scorer:
    """Turns requests into RESPONSE frames with one model."""

    def __init__(
        self,
        model: Model,
        *,
        batched: bool,
        by_row: bool = True,
        observer: Observer | None = None,
        nulled: Nulled | None = None,
        oip: OpenInference | None = None,
        sizes: Sizes | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        """``by_row``: the model answers one prediction per row, so another count is a fault."""
        self._model = model
        self._batched = batched
        self._by_row = by_row
        self._observer = observer
        #: What of answers could only be written as null.
        self.nulled = nulled or Nulled()
        self.sizes = sizes or Sizes()
        self._oip = oip
        #: Whether anybody has spoken that protocol yet.
        self._oip_asked = False
        self._clock = clock
        self._batch = 0
        #: For the observer: when those of one group came, what reading took, when work on it began.
        self._received: list[float] = []
        self._read_s = self._began = 0.0

    def answer(self, requests: Sequence[Request]) -> list[Frame]:
        """One RESPONSE for each request, in the same order."""
        began = self._clock()
        parse = self._model.intake.parse
        units: list[Any] = []
        for request in requests:
            frame = request.frame
            if frame.aux and (began - request.received) * 1000 > frame.aux:
                units.append(self._failure(frame.id, _late(frame)))
                continue
            try:
                units.append(
                    parse(frame.body, frame.format)
                    if frame.format is not _OIP
                    else self._read_oip(frame)
                )
            except Exception as error:  # noqa: BLE001 - a fault in reading must not end the process
                units.append(self._unread(frame, error))
        if self._observer is not None:
            self._began = self._clock()
            self._read_s = self._began - began
        alike = self._are_alike(units)
        found = self._group(requests, units) if alike else self._by_group(requests, units)
        return self._as_asked(requests, found) if self._oip_asked else found

    def _read_oip(self, frame: Frame) -> Unit | Frame:
        self._oip_asked = True
        if self._oip is None:
            return self._model.intake.parse(frame.body, frame.format)  # which refuses it
        return self._oip.read(frame.body) if frame.body else self._described(frame, self._oip)

    def _unread(self, frame: Frame, error: Exception) -> Frame:
        """The answer to a request that could not be read."""
        if isinstance(error, SerinusError):
            if self._observer is not None:
                self._observer.refused(frame, error)
            return self._failure(frame.id, error)
        _log.error("action=read_failed", exc_info=error, extra=marks(frame))
        return self._failure(frame.id, InternalError(described(error)))

    def _are_alike(self, units: Sequence[Any]) -> bool:
        """Whether all of them are one group, as most often."""
        first = units[0] if units else None
        if type(first) is not Unit or len(units) == 1:
            return type(first) is Unit
        key = first.key
        if key is None or not self._batched:
            return False
        for unit in units:
            if type(unit) is not Unit or (unit.key is not key and unit.key != key):
                return False
        return True

    def _by_group(self, requests: Sequence[Request], units: Sequence[Any]) -> list[Frame]:
        """``units`` are answers already where the model is not to be asked."""
        answers: list[Any] = list(units)
        groups: dict[Hashable, list[int]] = {}
        for at, unit in enumerate(units):
            if type(unit) is Unit:
                # A unit without a key shares with nobody: its own place is its key.
                key = unit.key if self._batched and unit.key is not None else (None, at)
                groups.setdefault(key, []).append(at)
        for group in groups.values():
            found = self._group([requests[at] for at in group], [units[at] for at in group])
            for at, frame in zip(group, found, strict=True):
                answers[at] = frame
        return answers

    def _described(self, frame: Frame, oip: OpenInference) -> Frame:
        content = oip.metadata
        return Frame(Kind.RESPONSE, frame.id, content, b"", Format.JSON, 200, 0, self._batch)

    def _as_asked(self, requests: Sequence[Request], answers: list[Frame]) -> list[Frame]:
        """Errors in the form of the protocol by which each was asked."""
        return [
            msgspec.structs.replace(answer, body=OpenInference.refusal(answer.body))
            if answer.status >= 400 and request.frame.format is Format.OIP
            else answer
            for request, answer in zip(requests, answers, strict=True)
        ]

    def _group(self, requests: Sequence[Request], units: list[Unit]) -> list[Frame]:
        if self._observer is not None:
            self._received = [request.received for request in requests]
        frames = [request.frame for request in requests]
        if len(units) > 1:
            try:
                return self._together(frames, units)
            except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the model's
                # One of them spoilt it, or the batch itself did: each is asked again alone.
                _log.info("action=batch_split requests=%d error=%r", len(units), error)
        pairs = zip(frames, units, strict=True)
        return [self._alone(frame, unit, at) for at, (frame, unit) in enumerate(pairs)]

    def _together(self, frames: Sequence[Frame], units: list[Unit]) -> list[Frame]:
        counts = [unit.rows or 0 for unit in units]
        rows = sum(counts)
        output, took = self._predict(units, rows)
        self._check_rows(output, rows, strictly=True)
        batch = self._batch
        bodies = cut(output, counts)
        if self._oip is not None and self._oip_asked:
            bodies = self._oip.rewritten(bodies, output, units)
        answers = [
            Frame(_RESPONSE, frame.id, each, b"", _JSON, 200, took, batch)
            for frame, each in zip(frames, bodies, strict=True)
        ]
        self.nulled.look(output, bodies)
        if self._observer is not None:
            self._observer.answered(frames, units, answers, output, self._times(self._received))
        return answers

    def _alone(self, frame: Frame, unit: Unit, place: int) -> Frame:
        id_, took = frame.id, 0
        began = self._clock()
        try:
            output, took = self._predict([unit], 1 if unit.rows is None else unit.rows)
            self._check_rows(output, unit.rows, strictly=False)
            if unit.asked is None or self._oip is None:
                content = body(output)
            else:
                content = self._oip.write(output, unit.asked)
            answer = Frame(_RESPONSE, id_, content, b"", _JSON, 200, took, self._batch)
        except SerinusError as error:
            return self._failure(id_, error, took)
        except _Wrong as error:
            return self._failure(id_, BadAnswer(f"{error}."), took)
        except Exception as error:  # noqa: BLE001 - a model may raise anything
            _log.exception("action=predict_failed", extra=marks(frame))
            took = self._micros(began)
            return self._failure(
                id_,
                BadRequest(
                    "Encountered an unexpected error while evaluating the model: "
                    f"{described(error)}"
                ),
                took,
            )
        except BaseException as error:  # noqa: BLE001 - sys.exit must not end the process
            _log.exception("action=predict_exited", extra=marks(frame))
            return self._failure(
                id_,
                BadAnswer(f"The model tried to end its process ({described(error)})."),
                self._micros(began),
            )
        self.nulled.look(output, (content,))
        if self._observer is not None:
            received = self._received[place : place + 1]
            self._observer.answered([frame], [unit], [answer], output, self._times(received))
        return answer

    def _times(self, received: list[float]) -> Times:
        """Of what has just been answered; work on the next begins now."""
        began, self._began = self._began, self._clock()
        return received, self._read_s, began, self._began

    def _predict(self, units: list[Unit], rows: int) -> tuple[Any, int]:
        data = self._model.intake.join(units)
        self.sizes.count(len(units), rows)
        self._batch = (self._batch + 1) & _U32
        began = self._clock()
        output = self._model.predict(data, units[0].params)
        return output, self._micros(began)

    def _check_rows(self, output: Any, rows: int | None, *, strictly: bool) -> None:
        if not (self._by_row or strictly) or rows is None:
            return
        # What has so many rows is right in either way.
        found = len(output) if type(output) is list else count_rows(output)
        if found == rows:
            return
        if found is None and strictly:
            raise Uncuttable
        if found is not None and found != rows and not isinstance(output, dict):
            raise _Wrong(
                f"The model returned {_many(found, 'prediction')} for {_many(rows, 'row')}"
            )

    def _micros(self, began: float) -> int:
        return min(int((self._clock() - began) * 1e6), _U32)

    def _failure(self, id_: int, error: SerinusError, took: int = 0) -> Frame:
        return Frame(
            Kind.RESPONSE,
            id_,
            error_body(error),
            b"",
            Format.JSON,
            error.status,
            took,
            self._batch,
        )


def given_up(frame: Frame) -> Frame:
    """The answer to a request that no model is asked, for it would be too late."""
    error = _late(frame)
    return Frame(Kind.RESPONSE, frame.id, error_body(error), status=error.status)


def _late(frame: Frame) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"No answer could come within the {frame.aux} ms that the request had left when it came to "
        "the model: too many others were before it, or one that took long."
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
