"""A model's signature as JSON Schema of the bodies that it can be sent. Pure."""

from typing import Any

from serinus.replica.card import Card, Column, ColumnType, Tensor

__all__ = ["body_schema"]

_CELLS: dict[ColumnType, dict[str, Any]] = {
    ColumnType.BOOLEAN: {"type": "boolean"},
    ColumnType.INTEGER: {"type": "integer", "minimum": -(2**31), "maximum": 2**31 - 1},
    ColumnType.LONG: {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1},
    ColumnType.FLOAT: {"type": ["number", "null"]},
    ColumnType.DOUBLE: {"type": ["number", "null"]},
    ColumnType.STRING: {"type": ["string", "null"]},
    ColumnType.BINARY: {"type": "string", "contentEncoding": "base64"},
    ColumnType.DATETIME: {"type": ["string", "null"], "format": "date-time"},
}
_SIMPLE = {each.value: schema for each, schema in _CELLS.items()}


def body_schema(card: Card | None) -> dict[str, Any]:
    """Every JSON body that a model of that card takes; None: nobody knows what it takes."""
    if card is not None and card.columns:
        forms = _of_columns(card.columns)
    elif card is not None and card.tensors:
        forms = _of_tensors(card.tensors)
    else:
        forms = _of_anything()
    params = _params(card.params) if card is not None and card.params else None
    return {
        "oneOf": [
            {
                "type": "object",
                "required": [form],
                "properties": {
                    form: schema,
                    **({"params": params} if params else {}),
                    "client_request_id": {"type": "string"},
                    "lookups": {"type": "object"},
                },
            }
            for form, schema in forms.items()
        ]
    }


def _of_columns(columns: tuple[Column, ...]) -> dict[str, Any]:
    cells = {each.name: _cell(each) for each in columns}
    required = [each.name for each in columns if each.required]
    row = {"type": "object", "properties": cells, "required": required}
    rows = {"type": "array", "items": row, "minItems": 1}
    lists = {name: {"type": "array", "items": cell} for name, cell in cells.items()}
    return {
        "dataframe_records": rows,
        "dataframe_split": _split(list(cells)),
        "instances": rows,
        "inputs": {"type": "object", "properties": lists, "required": required},
    }


def _of_tensors(tensors: tuple[Tensor, ...]) -> dict[str, Any]:
    if len(tensors) == 1 and tensors[0].name is None:
        whole = _array(tensors[0].dtype, tensors[0].shape)
        return {"inputs": whole, "instances": whole}
    named = {str(each.name): _array(each.dtype, each.shape) for each in tensors}
    one = {str(each.name): _array(each.dtype, each.shape[1:]) for each in tensors}
    item = {"type": "object", "properties": one, "required": list(one)}
    return {
        "inputs": {"type": "object", "properties": named, "required": list(named)},
        "instances": {"type": "array", "items": item, "minItems": 1},
    }


def _of_anything() -> dict[str, Any]:
    rows: dict[str, Any] = {"type": "array", "minItems": 1}
    records = {**rows, "items": {"type": "object"}}
    return {
        "dataframe_records": records,
        "dataframe_split": _split(None),
        "instances": rows,
        "inputs": {"type": ["object", "array"]},
    }


def _split(columns: list[str] | None) -> dict[str, Any]:
    names: dict[str, Any] = {"type": "array", "items": {"type": "string"}}
    if columns is not None:
        names = {**names, "items": {"type": "string", "enum": columns}}
    return {
        "type": "object",
        "required": ["columns", "data"],
        "properties": {
            "columns": names,
            "index": {"type": "array"},
            "data": {"type": "array", "items": {"type": "array"}, "minItems": 1},
        },
    }


def _cell(column: Column) -> dict[str, Any]:
    return _CELLS[column.type] if column.nested is None else _nested(column.nested)


def _nested(declared: dict[str, Any]) -> dict[str, Any]:
    """The schema of an array, an object, a map, or of a type inside one of them."""
    match declared.get("type"):
        case "array":
            return {"type": "array", "items": _nested(declared.get("items") or {})}
        case "map":
            return {
                "type": "object",
                "additionalProperties": _nested(declared.get("values") or {}),
            }
        case "object":
            inner = declared.get("properties") or {}
            required = [name for name, each in inner.items() if each.get("required", True)]
            return {
                "type": "object",
                "properties": {name: _nested(each) for name, each in inner.items()},
                "required": required,
                "additionalProperties": False,
            }
        case type_:
            return _SIMPLE.get(str(type_), {})


def _array(dtype: str, shape: tuple[int, ...]) -> dict[str, Any]:
    schema = _scalar(dtype)
    for length in reversed(shape):
        schema = {"type": "array", "items": schema}
        if length >= 0:
            schema |= {"minItems": length, "maxItems": length}
    return schema


def _scalar(dtype: str) -> dict[str, Any]:
    if dtype.startswith(("int", "uint")):
        return {"type": "integer"}
    if dtype.startswith("float"):
        return {"type": ["number", "null"]}
    return {"type": "boolean"} if dtype == "bool" else {"type": "string"}


def _params(declared: tuple[dict[str, Any], ...]) -> dict[str, Any]:
    properties = {}
    for each in declared:
        schema: dict[str, Any] = _SIMPLE.get(str(each.get("type")), {})
        shape = each.get("shape")
        if isinstance(shape, list):
            for _ in shape:
                schema = {"type": "array", "items": schema}
        properties[str(each.get("name"))] = {**schema, "default": each.get("default")}
    return {"type": "object", "properties": properties}
