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
from serinus.replica.model import Model
from serinus.replica.nulled import Nulled
from serinus.replica.oip import OpenInference
from serinus.replica.origin import marks
from serinus.replica.protocol import Format, Frame, Kind
from serinus.replica.sizes import Sizes
from serinus.replica.unit import Unit

__all__ = ["Observer", "Request", "Scorer", "given_up"]

_log = logging.getLogger(__name__)
_U32 = 0xFFFFFFFF


class Request(msgspec.Struct, gc=False):
    """A REQUEST frame and when it came, on the scorer's clock."""

    frame: Frame
    received: float


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
        answers: list[Frame | None] = [None] * len(requests)
        groups: dict[Hashable, list[tuple[int, Unit]]] = {}
        began = self._clock()
        for at, request in enumerate(requests):
            unit = self._read(request, began)
            if isinstance(unit, Frame):
                answers[at] = unit
                continue
            # A unit without a key shares with nobody: its own place is its key.
            key = unit.key if self._batched and unit.key is not None else (None, at)
            groups.setdefault(key, []).append((at, unit))
        if self._observer is not None:
            self._began = self._clock()
            self._read_s = self._began - began
        for group in groups.values():
            if self._observer is not None:
                self._received = [requests[at].received for at, _ in group]
            frames = [requests[at].frame for at, _ in group]
            found = self._group(frames, [unit for _, unit in group])
            for (at, _), frame in zip(group, found, strict=True):
                answers[at] = frame
        found = [answer for answer in answers if answer is not None]
        if self._oip_asked:
            return self._as_asked(requests, found)
        return found

    def _read(self, request: Request, began: float) -> Unit | Frame:
        """What the model is to be asked, or the answer to who asked for something else."""
        frame = request.frame
        if frame.aux and (began - request.received) * 1000 > frame.aux:
            return self._failure(frame.id, _late(frame))
        try:
            if frame.format is not Format.OIP:
                return self._model.intake.parse(frame.body, frame.format)
            self._oip_asked = True
            if self._oip is None:
                return self._model.intake.parse(frame.body, frame.format)  # which refuses it
            return self._oip.read(frame.body) if frame.body else self._described(frame, self._oip)
        except SerinusError as error:
            if self._observer is not None:
                self._observer.refused(frame, error)
            return self._failure(frame.id, error)
        except Exception as error:  # noqa: BLE001 - a fault in reading must not end the process
            _log.exception("action=read_failed", extra=marks(frame))
            return self._failure(frame.id, InternalError(described(error)))

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

    def _group(self, frames: Sequence[Frame], units: list[Unit]) -> list[Frame]:
        if len(units) > 1:
            try:
                return self._together(frames, units)
            except BaseException as error:  # noqa: BLE001 - SystemExit too: it is the model's
                # One of them spoilt it, or the batch itself did: each is asked again alone.
                _log.info("action=batch_split requests=%d error=%r", len(units), error)
        pairs = zip(frames, units, strict=True)
        return [self._alone(frame, unit, at) for at, (frame, unit) in enumerate(pairs)]

    def _together(self, frames: Sequence[Frame], units: list[Unit]) -> list[Frame]:
        output, took = self._predict(units)
        counts = [unit.rows or 0 for unit in units]
        self._check_rows(output, sum(counts), strictly=True)
        batch = self._batch
        bodies = cut(output, counts)
        if self._oip is not None and self._oip_asked:
            bodies = self._oip.rewritten(bodies, output, units)
        answers = [
            Frame(Kind.RESPONSE, frame.id, each, b"", Format.JSON, 200, took, batch)
            for frame, each in zip(frames, bodies, strict=True)
        ]
        self.nulled.look(output, [answer.body for answer in answers])
        if self._observer is not None:
            self._observer.answered(frames, units, answers, output, self._times(self._received))
        return answers

    def _alone(self, frame: Frame, unit: Unit, place: int) -> Frame:
        id_, took = frame.id, 0
        began = self._clock()
        try:
            output, took = self._predict([unit])
            self._check_rows(output, unit.rows, strictly=False)
            if unit.asked is None or self._oip is None:
                content = body(output)
            else:
                content = self._oip.write(output, unit.asked)
            answer = Frame(Kind.RESPONSE, id_, content, b"", Format.JSON, 200, took, self._batch)
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
        self.nulled.look(output, [answer.body])
        if self._observer is not None:
            received = self._received[place : place + 1]
            self._observer.answered([frame], [unit], [answer], output, self._times(received))
        return answer

    def _times(self, received: list[float]) -> Times:
        """Of what has just been answered; work on the next begins now."""
        began, self._began = self._began, self._clock()
        return received, self._read_s, began, self._began

    def _predict(self, units: list[Unit]) -> tuple[Any, int]:
        data = self._model.intake.join(units)
        self.sizes.count(len(units), sum([1 if each.rows is None else each.rows for each in units]))
        self._batch = (self._batch + 1) & _U32
        began = self._clock()
        output = self._model.predict(data, units[0].params)
        return output, self._micros(began)

    def _check_rows(self, output: Any, rows: int | None, *, strictly: bool) -> None:
        if not (self._by_row or strictly) or rows is None:
            return
        found = count_rows(output)
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
