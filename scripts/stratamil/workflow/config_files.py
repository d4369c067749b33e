"""Reading the YAML files that a user writes: strictly, and names, ids and codes as the text that stands there.

YAML keeps the last of two sections of one name, reads `010` as 8, `1_2` as 12, `no` as false and `1:20` as 80. Here a
key that is written twice is an error, and where the schema wants text, a value is what was typed.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from stratamil.core.errors import UserError

# Values and characters of a file when every alias is written out: far more than a study needs, and little memory.
LARGEST = 200_000, 5_000_000
# Numbers that nobody misreads; the others of YAML (octal, hexadecimal, sexagesimal, with underscores) stay text.
DECIMAL = re.compile(r"[-+]?((0|[1-9][0-9]{0,300})(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
NULL, BOOL, MERGE, TEXT = (f"tag:yaml.org,2002:{kind}" for kind in ("null", "bool", "merge", "str"))
NUMBERS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")


def read(path: str | Path, schema: dict, example: str = "seeds: [1]") -> dict:
    """Read a file of keys and values.

    schema: JSON schema of the content, with its `$defs`; only types are looked at, nothing is validated. All keys are
    text. JSON is read, too. example: a line of such a file, for a message.
    Raises UserError with every key that is written twice, and for what is not YAML.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not in UTF-8 (byte {error.start + 1}): save it as UTF-8") from None
    loader = None
    try:
        loader = yaml.SafeLoader(text if Path(path).suffix != ".json" else text.replace("\t", " "))
        root = loader.get_single_node()
        _refuse_bomb(path, root)
        if twice := _twice(root, "", set()):
            raise UserError(*(f"{path}: {line}" for line in twice))
        content = _value(loader, root, schema, schema.get("$defs", {})) if root else None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply: write plain keys and values") from None
    finally:
        if loader:
            loader.dispose()
    if not isinstance(content, dict):
        raise UserError(f"{path}: keys and values are wanted, such as `{example}`")
    return content


def _refuse_bomb(path: str | Path, root: yaml.Node | None) -> None:
    """Stop where aliases (`*name`) would make much of little, or lead back to what holds them."""
    sizes, open_ = {}, set()

    def size(node: yaml.Node) -> tuple[int, int]:
        if id(node) in open_:
            raise UserError(f"{path}: line {_line(node)}: an alias within what it stands for: write it out")
        if id(node) not in sizes:
            open_.add(id(node))
            inner = [size(child) for child in _children(node)]
            letters = len(node.value) if isinstance(node, yaml.ScalarNode) else 0
            sizes[id(node)] = 1 + sum(n for n, _ in inner), letters + sum(n for _, n in inner)
            open_.discard(id(node))
        return sizes[id(node)]

    values, letters = size(root) if root else (0, 0)
    if values > LARGEST[0] or letters > LARGEST[1]:
        raise UserError(
            f"{path}: holds {values:,} values and {letters:,} characters with its aliases written out: at most "
            f"{LARGEST[0]:,} and {LARGEST[1]:,}: take out what no study needs"
        )


def _children(node: yaml.Node) -> list[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        return [part for pair in node.value for part in pair]
    return node.value if isinstance(node, yaml.SequenceNode) else []


def _line(node: yaml.Node) -> int:
    return node.start_mark.line + 1


def _twice(node: yaml.Node | None, where: str, seen: set[int]) -> list[str]:
    """Return a line for each key that a mapping at or below `node` has twice; merge keys (`<<`) may repeat."""
    if node is None or id(node) in seen:
        return []
    seen.add(id(node))
    below, places = [], {}
    pairs = node.value if isinstance(node, yaml.MappingNode) else []
    for key, value in pairs:
        name = ".".join(filter(None, [where, _key(key)]))
        if key.tag != MERGE:
            places.setdefault(name, []).append(_line(key))
        below += _twice(value, name, seen)
    for number, item in enumerate(node.value if isinstance(node, yaml.SequenceNode) else []):
        below += _twice(item, f"{where}.{number}", seen)
    return [
        f"lines {', '.join(map(str, lines[:-1]))} and {lines[-1]}: {name!r} is written more than once: join them"
        for name, lines in places.items()
        if len(lines) > 1
    ] + below


def _key(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.YAMLError(f"line {_line(node)}: a key must be a word, not a list")
    return _text(node)


def _text(node: yaml.ScalarNode) -> str:
    """Return the text of a node, with characters whole that JSON writes in two halves (`\\ud83e\\uddea`)."""
    try:
        return node.value.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        raise yaml.YAMLError(f"line {_line(node)}: half a character of two: write the character itself") from None


def _value(loader: yaml.SafeLoader, node: yaml.Node, schema: dict, defs: dict) -> Any:
    """Return the value of a node; as text where the schema wants text, unless nothing (`null`) stands there."""
    if "$ref" in schema:
        schema = defs[schema["$ref"].rpartition("/")[2]]
    if isinstance(node, yaml.MappingNode):
        loader.flatten_mapping(node)  # what `<<` stands for comes first, so that a key of its own wins
        own, others = schema.get("properties", {}), schema.get("additionalProperties") or {}
        return {_key(key): _value(loader, value, own.get(_key(key), others), defs) for key, value in node.value}
    if isinstance(node, yaml.SequenceNode):
        items = schema.get("items", {})
        return [
            _text(item) if isinstance(item, yaml.ScalarNode) and _is_text(items) else _value(loader, item, items, defs)
            for item in node.value
        ]
    if node.tag == NULL:
        return None
    if not _is_text(schema) and node.tag == BOOL and node.value.lower() in loader.bool_values:
        return loader.construct_yaml_bool(node)
    # a plain 3e-4 is text to YAML 1.1, and a number to everyone who writes it
    numeric = node.tag in NUMBERS or (node.tag == TEXT and node.style is None)
    if not _is_text(schema) and numeric and DECIMAL.fullmatch(node.value):
        return int(node.value) if node.tag == NUMBERS[0] else float(node.value)
    return _text(node)


def _is_text(schema: dict) -> bool:
    kinds = schema.get("type", ())
    return "string" in ([kinds] if isinstance(kinds, str) else kinds)
