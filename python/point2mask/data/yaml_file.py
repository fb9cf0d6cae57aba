"""YAML of settings from a person or from anyone: plain values, and no more than settings need."""

import json
from pathlib import Path
from typing import Any

from point2mask.data.errors import DataError
from point2mask.data.files import open_regular
from point2mask.messages import shown

_BYTES, _VALUES, _DEPTH = 1_000_000, 5_000, 20  # at most


def read_yaml(path: Path) -> dict[str, Any]:
    """The keys and values of a file.

    Raises:
        DataError: no file, no UTF-8, or as :func:`parse_yaml`.
    """
    with open_regular(path, "a YAML configuration") as file:
        content = file.read(_BYTES + 1)
    if len(content) > _BYTES:
        raise DataError(f"{path}: expected a configuration of at most {_BYTES} bytes")
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: expected UTF-8 text ({error})") from error
    values = parse_yaml(text, str(path))
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys and values")
    return values


def to_yaml(value: object) -> str:
    """A plain value on one line, as :func:`parse_yaml` reads it back.

    It is JSON but for characters beyond U+FFFF. JSON escapes those as two halves, which YAML does
    not put together: they stay as they are.
    """
    if not isinstance(value, str):
        return json.dumps(value)
    escaped = (x if ord(x) > 0xFFFF else json.dumps(x)[1:-1] for x in value)
    return f'"{"".join(escaped)}"'


def parse_yaml(text: str, place: str) -> Any:
    """Plain values of a text; ``place`` is where it comes from.

    Raises:
        DataError: no YAML, a key that stands twice, references, or more than settings have.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        values = depth = 0

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                name = self.peek_event().anchor
                raise DataError(f"{place}: expected every value written out, got *{name}")
            self.values += 1
            self.depth += 1
            if self.values > _VALUES or self.depth > _DEPTH:
                what = "values" if self.values > _VALUES else "levels"
                raise DataError(
                    f"{place}: expected at most {_VALUES} values in {_DEPTH} levels, "
                    f"got more {what}"
                )
            node = super().compose_node(parent, index)
            self.depth -= 1
            return node

        def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            if len(set(keys)) < len(keys):
                twice = next(key for key in keys if keys.count(key) > 1)
                raise DataError(f"{place}: the key {shown(twice)} stands there twice")
            return super().construct_mapping(node, deep)

    try:
        return yaml.load(text, Loader)  # a SafeLoader
    except (DataError, MemoryError):
        raise
    except Exception as error:  # PyYAML's own, and whatever Python says of numbers, dates and tags
        reason = " ".join(str(error).split())
        raise DataError(f"{place}: expected YAML ({reason[:200]})") from error
