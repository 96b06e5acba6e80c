"""Digests that say what changed: each fitted part of a model, the author's code, the data.

The same model loaded elsewhere gives the same digests. Nothing is pickled, nothing of a value can
be read back from them.
"""

import hashlib
import inspect
import sysconfig
from collections.abc import Callable, Iterator
from types import CodeType, FunctionType
from typing import Any

import numpy as np

from serinus.parity.columns import Column
from serinus.parity.contract import Kind

__all__ = ["code_digests", "data_fingerprint", "parameter_digests"]

_MAX_PARTS = 10_000
_FEW_PARTS = 50
#: What MLflow adds to a model of the author's when it loads it.
_NOT_LEARNED = frozenset(("_predict_type_hints",))
_INSTALLED = tuple(
    {path for name in ("stdlib", "purelib", "platlib") if (path := sysconfig.get_path(name))}
)


def data_fingerprint(columns: list[Column]) -> str:
    """The SHA-256 over all values of all columns, in their order."""
    whole = hashlib.sha256()
    for column in columns:
        whole.update(f"{column.name}\0{column.kind.value}\0{len(column.null)}\0".encode())
        if column.kind is Kind.OTHER:
            for each in column.values:
                whole.update(repr(each).encode("utf-8", "surrogatepass") + b"\0")
            continue
        if column.kind is Kind.TEXT:
            for word in column.words:
                whole.update(word.encode("utf-8", "surrogatepass") + b"\0")
        values = column.values
        if values.dtype.kind == "M":
            values = values.view(np.int64)
        whole.update(np.ascontiguousarray(values).data)
        whole.update(np.packbits(column.null).data)
    return whole.hexdigest()


def parameter_digests(model: Any) -> dict[str, str]:
    """Path of each part that learned something → the SHA-256 of what it learned."""
    found: dict[str, str] = {}
    for path, part in _parts(model):
        digest = hashlib.sha256()
        count = 0
        for name, value in sorted(_learned(part), key=lambda pair: pair[0]):
            digest.update(name.encode() + b"\0")
            _feed(digest, value, 0)
            count += 1
        if count:
            found[path or "model"] = digest.hexdigest()
    return found


def _learned(part: Any) -> Iterator[tuple[str, Any]]:
    """What is neither an argument of the constructor nor a part of its own."""
    if hasattr(part, "save_raw"):  # an xgboost booster
        yield "raw", bytes(part.save_raw())
    elif hasattr(part, "model_to_string"):  # a lightgbm booster
        yield "text", part.model_to_string()
    elif callable(getattr(part, "state_dict", None)):  # a torch module
        for name, tensor in part.state_dict().items():
            yield name, tensor.detach().cpu().numpy()
    else:
        given = part.get_params(deep=False) if hasattr(part, "get_params") else {}
        for name, value in vars(part).items() if hasattr(part, "__dict__") else ():
            if name not in given and name not in _NOT_LEARNED and not _has_parts(value):
                yield name, value


def _is_part(value: Any) -> bool:
    """True for what gets a digest of its own: estimators, boosters, modules, the author's."""
    if isinstance(value, type | FunctionType):
        return False
    names = ("get_params", "save_raw", "model_to_string", "state_dict")
    return any(callable(getattr(value, name, None)) for name in names) or _is_own(value)


def _has_parts(value: Any) -> bool:
    """True for parts, and for small collections of them; a forest is one thing."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return len(value) <= _FEW_PARTS and any(_has_parts(each) for each in value)
    return _is_part(value)


def _parts(model: Any) -> Iterator[tuple[str, Any]]:
    """The model and everything inside it that is a part, each once, with its path."""
    waiting: list[tuple[str, Any]] = [("", model)]
    seen: set[int] = set()
    while waiting and len(seen) < _MAX_PARTS:
        path, part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, list | tuple):
            waiting += [(_joined(path, at, each), each) for at, each in enumerate(part)]
        elif isinstance(part, dict):
            waiting += [(f"{path}/{key}", each) for key, each in part.items()]
        elif hasattr(part, "__dict__") and (path == "" or _is_part(part)):
            yield path, part
            inside = [(name, each) for name, each in vars(part).items() if _has_parts(each)]
            waiting += [(f"{path}/{name}".lstrip("/"), each) for name, each in inside]


def _joined(path: str, at: int, each: Any) -> str:
    """Steps of a pipeline have names; what else is in a list has its place."""
    named = isinstance(each, tuple) and each and isinstance(each[0], str)
    return f"{path}/{each[0] if named else at}".lstrip("/")


def _feed(digest: Any, value: Any, depth: int) -> None:
    digest.update(type(value).__name__.encode() + b"\0")
    if depth > 16:
        return
    if isinstance(value, np.ndarray):
        _feed_array(digest, value, depth)
    elif isinstance(value, bytes):
        digest.update(value)
    elif isinstance(value, dict):
        for key, each in sorted(value.items(), key=lambda pair: str(pair[0])):
            digest.update(str(key).encode("utf-8", "surrogatepass"))
            _feed(digest, each, depth + 1)
    elif isinstance(value, list | tuple):
        for each in value:
            _feed(digest, each, depth + 1)
    elif value is None or isinstance(value, str | int | float | np.generic):
        digest.update(repr(value).encode("utf-8", "surrogatepass"))
    else:
        _feed_object(digest, value, depth)


def _feed_array(digest: Any, value: Any, depth: int) -> None:
    digest.update(f"{value.dtype.str}{value.shape}".encode())
    if value.dtype.names:  # the bytes between such fields are not defined
        for name in value.dtype.names:
            _feed(digest, np.ascontiguousarray(value[name]), depth + 1)
    elif value.dtype.kind == "O":
        _feed(digest, value.tolist(), depth + 1)
    else:
        digest.update(np.ascontiguousarray(value).tobytes())


def _feed_object(digest: Any, value: Any, depth: int) -> None:
    if hasattr(value, "toarray") and hasattr(value, "indptr"):
        for each in (value.data, value.indices, value.indptr):
            _feed(digest, each, depth + 1)
    elif _is_part(value):
        for name, each in sorted(_learned(value), key=lambda pair: pair[0]):
            digest.update(name.encode() + b"\0")
            _feed(digest, each, depth + 1)
    elif hasattr(value, "nodes") and hasattr(value, "__dict__"):  # of a boosted tree
        _feed(digest, vars(value), depth + 1)
    elif hasattr(value, "nodes") and hasattr(value, "__getstate__"):  # a tree of scikit-learn
        _feed(digest, value.__getstate__(), depth + 1)


def code_digests(model: Any) -> dict[str, str]:
    """The author's own functions and classes that the model calls → the SHA-256 of their source."""
    found: dict[str, str] = {}
    for _, part in _parts(model):
        for each in (type(part), *vars(part).values()):
            for inner in each if isinstance(each, list | tuple) else (each,):
                if isinstance(inner, FunctionType | type):
                    _add_code(found, inner)
    return dict(sorted(found.items()))


def _add_code(found: dict[str, str], thing: Callable[..., Any]) -> None:
    name = f"{thing.__module__}.{thing.__qualname__}"
    if name in found or not _is_own(thing) or len(found) > _MAX_PARTS:
        return
    found[name] = hashlib.sha256(_source(thing)).hexdigest()
    functions = (
        [thing]
        if isinstance(thing, FunctionType)
        else [each for each in vars(thing).values() if isinstance(each, FunctionType)]
    )
    for function in functions:
        for word in function.__code__.co_names:
            called = function.__globals__.get(word)
            if isinstance(called, FunctionType | type):
                _add_code(found, called)


def _is_own(thing: Any) -> bool:
    """True for code that is neither Python's nor an installed library's."""
    kind = thing if isinstance(thing, FunctionType | type) else type(thing)
    if kind.__module__ in ("builtins", "__builtin__"):
        return False
    if isinstance(kind, FunctionType):
        file = kind.__code__.co_filename
    else:
        own = [each for each in vars(kind).values() if isinstance(each, FunctionType)]
        if not own:
            return False
        file = own[0].__code__.co_filename
    return not file.startswith(("<frozen", *_INSTALLED))


def _source(thing: Any) -> bytes:
    try:
        return inspect.getsource(thing).encode("utf-8", "surrogatepass")
    except (OSError, TypeError):  # typed into a shell, or unpickled without its file
        functions = [thing] if isinstance(thing, FunctionType) else list(vars(thing).values())
        codes = [each.__code__ for each in functions if isinstance(each, FunctionType)]
        return b"".join(_code(each) for each in codes)


def _code(code: CodeType) -> bytes:
    constants = [_code(c) if isinstance(c, CodeType) else repr(c).encode() for c in code.co_consts]
    return code.co_code + b"".join(constants) + " ".join(code.co_names).encode()
