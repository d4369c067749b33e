"""What breaks the schema of the configuration, in the words of a person."""

import math
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

# 3.0 is a whole number to JSON schema, but not to the programs that get it; infinity is a number to no setting.
Validator = extend(
    Draft202012Validator,
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    ),
)
# Keywords whose own message would print a piece of the schema.
MESSAGES = {
    "minimum": "must be at least {0}",
    "maximum": "must be at most {0}",
    "exclusiveMinimum": "must be above {0}",
    "exclusiveMaximum": "must be below {0}",
    "minItems": "needs at least {0} entries",
    "maxProperties": "must be one name with its list",
    "minLength": "must not be empty",
    "uniqueItems": "has an entry twice",
}
SHOWN = 200  # characters of a value
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def lines(config: Mapping[str, Any], schema: Mapping[str, Any]) -> list[str]:
    """Return what breaks the schema, one line a setting: `train.epoch: no such setting: did you mean epochs?`.

    schema: JSON schema (draft 2020-12) with `additionalProperties: false`.
    """
    errors = sorted(Validator(schema).iter_errors(config), key=lambda error: list(map(str, error.absolute_path)))
    return list(dict.fromkeys(line for error in errors for line in _lines(error)))


def _lines(error: ValidationError) -> Iterator[str]:
    """Yield the lines of an error of the validator."""
    where = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        was = {
            setting["x-was"]: key for key, setting in error.schema.get("properties", {}).items() if "x-was" in setting
        }
        for key in sorted(set(error.instance) - set(known)):
            if key in was:
                yield f"{where + '.' if where else ''}{key}: is called {was[key]} now: rename it"
                continue
            close = get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
            yield f"{where + '.' if where else ''}{key}: no such setting: {hint}"
    else:
        yield f"{where}: {_shown(error.instance)} {_wish(error)}"


def _shown(value: object) -> str:
    """Return a value as in Python, or its beginning."""
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _wish(error: ValidationError) -> str:
    """Return what a value must be."""
    value = error.validator_value
    if error.validator == "pattern":
        return f"must be {error.schema.get('x-form', f'of the form {value}')}{_refused(value, error.instance)}"
    if error.validator == "type":
        kinds = value if isinstance(value, list) else [value]
        if {"number", "integer"} & set(kinds) and isinstance(error.instance, str):
            try:
                number = float(error.instance)
            except ValueError:
                number = math.inf
            if math.isfinite(number) and ("number" in kinds or number == int(number)):
                return f"is text to YAML: write {_decimal(number)}"
        single = isinstance(error.instance, int | float) and not isinstance(error.instance, bool)
        as_list = f": write [{error.instance}]" if kinds == ["array"] and single else ""
        return (
            "must be "
            + " or ".join(TYPES.get(kind, f"a mapping ({kind})" if kind == "object" else "a list") for kind in kinds)
            + as_list
        )
    if error.validator == "enum":
        return f"must be one of {', '.join('null' if word is None else str(word) for word in value)}"
    if error.validator == "required":
        return f"lacks {', '.join(key for key in value if key not in error.instance)}"
    if error.validator == "oneOf":
        form = error.schema.get("x-form")
        return f"must be {form}" if form else f"does not fit: {error.schema['description']}"
    if error.validator in MESSAGES:
        return MESSAGES[error.validator].format(value)
    return error.message


def _decimal(number: float) -> str:
    """Return a number as it can be written in the config without quotes."""
    return str(int(number)) if number == int(number) else repr(number)


def _refused(pattern: str, text: str) -> str:
    """Return `; not ' '`: the characters that a pattern never takes, if it takes letters at any place."""
    if not re.search(pattern, "aa"):
        return ""
    wrong = [character for character in dict.fromkeys(text) if not re.search(pattern, f"a{character}a")]
    return f"; not {' '.join(map(repr, wrong))}" if wrong else ""
