"""One record per op: what it means, how it is differentiated, and how it is tested.

A record is the Python half of an op. The C++ half, of the same name, is a row of the table in ``csrc/ops/``. Creating a
record with :func:`op` joins the two and returns the callable op. An op made of other ops has no C++ half: its record
comes from :func:`composed`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from .. import _engine

Rule = Callable[..., Any]


class Record:
    """The Python half of one op.

    Attributes:
        name: The op's name, in the C++ table too.
        inputs: Names of the tensor arguments; ``"bias?"`` for one that may be None, a single ``"*xs"`` for any number.
        attributes: Names of the other arguments, which follow the tensors.
        reference: The same function on NumPy arrays; a tuple for several outputs. Readable rather than fast. Of an op
            that works in place: changes nothing and gives a tuple of the new values of what the op writes.
        gradient: For each differentiable input its rule: a function of the output's gradient ``g`` (``g0``, ``g1``, ...
            for several outputs) and of whatever it names out of the inputs, the outputs (``y``; ``y0``, ``y1``, ...),
            the attributes, and the inputs' shapes (``x_shape``). Only what some rule names is kept for backward. Rules
            are written with ops, so that they can be differentiated again. A gradient with a default is None where none
            has arrived, instead of zeros. A rule under several names, ``"a b"``, gives a tuple, one gradient for each,
            or a function without arguments that makes it if it is wanted.
        formula: For each differentiable input the local derivative rule in LaTeX (what ``pn.explain`` prints).
        samples: ``samples(make)`` gives argument tuples for the tests; see :class:`tests.samples.Make`.
        errors: ``errors(make)`` gives (arguments, exception, message pattern) that must be refused.
        tolerance: Allowed error against the reference, in units of the last place of the larger of result and 1.
        dtypes: ``"float"``: float32 and float64; ``"any"``: integers and bool as well; ``"float32"``: that one
            alone.
        differences: False where finite differences say nothing (steps, random draws).
    """

    name: str
    inputs: tuple[str, ...]
    attributes: tuple[str, ...]
    reference: Callable[..., Any]
    gradient: dict[str, Rule]
    formula: dict[str, str]
    samples: Callable[[Any], Iterable[tuple]]
    errors: Callable[[Any], Iterable[tuple]] | None
    tolerance: float
    dtypes: str
    differences: bool
    function: Any
    primitive: bool

    __slots__ = ("name", "inputs", "attributes", "reference", "gradient", "formula", "samples", "errors", "tolerance",
                 "dtypes", "differences", "function", "primitive")  # fmt: skip

    def __init__(self, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        return f"<record of {self.name}({', '.join(self.inputs + self.attributes)})>"


#: Every record by name, in order of definition.
RECORDS: dict[str, Record] = {}


def op(
    name: str,
    inputs: str,
    *,
    attributes: str = "",
    reference: Callable[..., Any],
    gradient: dict[str, Rule] | None = None,
    formula: dict[str, str] | None = None,
    samples: Callable[[Any], Iterable[tuple]],
    errors: Callable[[Any], Iterable[tuple]] | None = None,
    tolerance: float = 4,
    dtypes: str = "float",
    differences: bool = True,
    doc: str = "",
) -> Any:
    """Joins a record to the op of the same name in the C++ table and returns the callable op.

    Raises:
        ValueError: The table has no op of this name, the record exists already, or a rule names an unknown value.
    """
    names = tuple(inputs.split())
    attribute_names = tuple(attributes.split())
    function = _engine.Op(name, names, attribute_names, gradient or {}, doc)
    record = Record(name=name, inputs=names, attributes=attribute_names, reference=reference,
                    gradient=function.gradient, formula=formula or {}, samples=samples, errors=errors,
                    tolerance=tolerance, dtypes=dtypes, differences=differences, primitive=True,
                    function=function)  # fmt: skip
    _add(record)
    return record.function


def composed(
    function: Callable[..., Any] | None = None,
    *,
    name: str = "",
    reference: Callable[..., Any],
    samples: Callable[[Any], Iterable[tuple]],
    errors: Callable[[Any], Iterable[tuple]] | None = None,
    tolerance: float = 8,
    dtypes: str = "float",
    differences: bool = True,
) -> Any:
    """Decorates a function that is made of other ops, so that the op tests run on it as well.

    Arrays among a sample's arguments are its tensors, everything else is passed as it is. The record has the function's
    name unless another is given (where a primitive has that one).
    """

    def add(f: Callable[..., Any]) -> Callable[..., Any]:
        record = Record(name=name or f.__name__, inputs=(), attributes=(), reference=reference, gradient={}, formula={},
                        samples=samples, errors=errors, tolerance=tolerance, dtypes=dtypes, differences=differences,
                        primitive=False, function=f)  # fmt: skip
        _add(record)
        return f

    return add if function is None else add(function)


def _add(record: Record) -> None:
    if record.name in RECORDS:
        raise ValueError(f"the op {record.name} has a record already")
    RECORDS[record.name] = record
