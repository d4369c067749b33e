"""What is wrong with a configuration, in lines that a user can act on."""

from difflib import get_close_matches

from jsonschema import Draft202012Validator

# Keywords whose own message would print a piece of the schema.
MESSAGES = {
    "minimum": "must be at least {0}",
    "maximum": "must be at most {0}",
    "exclusiveMinimum": "must be above {0}",
    "exclusiveMaximum": "must be below {0}",
    "minItems": "needs at least {0} entries",
    "maxProperties": "must be one name with its list",
    "minLength": "must not be empty",
    "pattern": "does not have the form {0}",
    "uniqueItems": "has an entry twice",
}
TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "null": "null",
}


def problems(config, schema):
    """One line a problem, `train.epoch: no such setting: did you mean epochs?`; an empty list if all is well.

    config: nested dicts of a configuration. schema: JSON schema (draft 2020-12) with `additionalProperties: false`.
    """
    errors = Draft202012Validator(schema).iter_errors(config)
    return [line for error in sorted(errors, key=lambda e: list(map(str, e.absolute_path))) for line in _lines(error)]


def _lines(error):
    where = ".".join(map(str, error.absolute_path))
    if error.validator == "additionalProperties" and isinstance(error.instance, dict):
        known = list(error.schema.get("properties", {}))
        for key in sorted(set(error.instance) - set(known)):
            close = get_close_matches(str(key), known, 1)
            hint = f"did you mean {close[0]}?" if close else f"known here: {', '.join(known)}"
            yield f"{where + '.' if where else ''}{key}: no such setting: {hint}"
    else:
        yield f"{where}: {error.instance!r} {_wish(error)}"


def _wish(error):
    value = error.validator_value
    if error.validator == "type":
        kinds = value if isinstance(value, list) else [value]
        return "must be " + " or ".join(
            TYPES.get(kind, f"a mapping ({kind})" if kind == "object" else "a list") for kind in kinds
        )
    if error.validator == "enum":
        return f"must be one of {', '.join(map(str, value))}"
    if error.validator == "oneOf":
        return f"does not fit: {error.schema['description']}"
    if error.validator in MESSAGES:
        return MESSAGES[error.validator].format(value)
    return error.message
