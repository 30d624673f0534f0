"""Nested containers of tensors: their leaves in order, and the same containers around other leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def named_leaves(tree: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of tuples, lists and dicts, each with its place in brackets: ``["w"][0]``. None is no leaf."""
    if isinstance(tree, (tuple, list)):
        for i, item in enumerate(tree):
            yield from named_leaves(item, f"{name}[{i}]")
    elif isinstance(tree, dict):
        for key, item in tree.items():
            yield from named_leaves(item, f"{name}[{key!r}]")
    elif tree is not None:
        yield name, tree


def leaves(tree: Any) -> list[Any]:
    """The leaves alone."""
    return [leaf for _, leaf in named_leaves(tree)]


def rebuild(tree: Any, others: Iterator[Any]) -> Any:
    """The containers of tree around other leaves, which are taken in order."""
    if isinstance(tree, (tuple, list)):
        items = [rebuild(item, others) for item in tree]
        if isinstance(tree, list):
            return items
        return type(tree)(*items) if hasattr(tree, "_fields") else tuple(items)
    if isinstance(tree, dict):
        return {key: rebuild(item, others) for key, item in tree.items()}
    return None if tree is None else next(others)


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """The containers of tree around function(leaf) for each leaf."""
    return rebuild(tree, map(function, leaves(tree)))
