# cython: boundscheck=False, binding=True, embedsignature=True, embedsignature.format=python
"""What every eager op passes through: tensors, calls into the op table, the tape, and the walk back along it."""
cimport cython
cimport numpy as cnp
from core cimport *
from cpython.number cimport PyIndex_Check
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_DECREF, Py_INCREF, Py_REFCNT
from cython.operator cimport dereference as deref
from libc.string cimport memcpy

from types import MethodType

import numpy as np

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(PyTypeObject*, cnp.dtype, int, cnp.npy_intp*, cnp.npy_intp*, void*, int, PyObject*)

cdef enum:
    MAX_FIXED_INPUTS = 12

cdef class Node
cdef class Op

cdef class Capture

include "tensor.pxi"
include "capture.pxi"


# ---- ops ----

cdef class Op:
    """A primitive op, callable on tensors: ``op(*tensors, *attributes)``.

    Made by :func:`pyneural.ops.record.op`, which joins the row of this name in the C++ table to a Python record.

    Raises:
        ValueError: The table has no such op, or a gradient rule names a value that the op does not have.
    """

    cdef const COp* row
    cdef readonly str name
    cdef readonly tuple inputs
    cdef readonly tuple attributes
    cdef readonly dict gradient
    cdef readonly bint variadic
    cdef readonly str __doc__
    cdef int n_in
    cdef tuple rules          # per input: None or (rule, plan, place in what the rule gives, or None if that is it)
    cdef tuple needs          # per input: what its rule reads, as a bit mask of inputs
    cdef tuple shape_needs    # the same for shapes
    cdef unsigned optional    # bit i: input i may be None
    cdef unsigned reads_outputs
    cdef bint differentiable
    cdef Op narrow            # what runs instead while autocast is on and the operands are float32

    def __init__(self, str name, tuple inputs, tuple attributes, dict gradient, str doc=""):
        cdef bytes encoded = name.encode()
        self.row = find_op(encoded)
        if self.row is NULL:
            raise ValueError(f"op {name}: there is a record in pyneural/ops but no row of this name in csrc/ops")
        self.name, self.attributes, self.__doc__ = name, attributes, doc
        self.variadic = self.row.inputs < 0
        self.inputs = tuple([i.strip("*?") for i in inputs])
        for k, i in enumerate(inputs):
            if i.endswith("?"):
                self.optional |= 1 << k
        self.n_in = self.row.inputs
        if not self.variadic and self.n_in != len(inputs):
            raise ValueError(f"op {name}: the record names {len(inputs)} inputs {inputs}, the table says {self.n_in}")
        places = {n: (rule, k if " " in key else None) for key, rule in gradient.items() for k, n in enumerate(key.split())}
        self.gradient = {n: rule for n, (rule, _) in places.items()}
        unknown = set(places) - set(self.inputs)
        if unknown:
            raise ValueError(f"op {name}: gradient rules for {sorted(unknown)}, which are not among the inputs {self.inputs}")
        self.differentiable = bool(gradient)
        self.narrow = None
        rules, needs, shape_needs = [], [], []
        for i in self.inputs:
            rule, place = places.get(i, (None, None))
            if rule is None:
                rules.append(None); needs.append(0); shape_needs.append(0)
                continue
            plan, need, shapes = self._plan(rule, i)
            rules.append((rule, plan, place)); needs.append(need); shape_needs.append(shapes)
        self.rules, self.needs, self.shape_needs = tuple(rules), tuple(needs), tuple(shape_needs)

    cdef tuple _plan(self, rule, str wrt):
        """How to find each argument of a rule: (kind, index) pairs, and the inputs whose values or shapes it reads."""
        cdef int outputs = self.row.outputs
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        gradient_names = ("g",) if outputs == 1 else tuple([f"g{k}" for k in range(outputs)])
        output_names = ("y",) if outputs == 1 else tuple([f"y{k}" for k in range(outputs)])
        optional = names[len(names) - len(rule.__defaults__ or ()):]
        plan, need, shapes = [], 0, 0
        for name in names:
            if name in gradient_names:
                plan.append(("g?" if name in optional else "g", gradient_names.index(name)))
            elif name in output_names:
                plan.append(("y", output_names.index(name)))
                self.reads_outputs |= 1 << output_names.index(name)
            elif name in self.inputs:
                plan.append(("x", self.inputs.index(name)))
                need |= 1 << self.inputs.index(name)
            elif name in self.attributes:
                plan.append(("a", self.attributes.index(name)))
            elif name.endswith("_shape") and name[:-6] in self.inputs:
                plan.append(("s", self.inputs.index(name[:-6])))
                shapes |= 1 << self.inputs.index(name[:-6])
            elif name.endswith("_dtype") and name[:-6] in self.inputs:
                plan.append(("t", self.inputs.index(name[:-6])))
                shapes |= 1 << self.inputs.index(name[:-6])
            elif name == "index" and self.variadic:
                plan.append(("i", 0))
            else:
                raise ValueError(
                    f"op {self.name}: the gradient rule for {wrt} reads {name!r}, which is no gradient {gradient_names}, "
                    f"output {output_names}, input {self.inputs} (or NAME_shape, NAME_dtype) or attribute {self.attributes}")
        return tuple(plan), need, shapes

    def __call__(self, *args):
        if self.narrow is not None and get_autocast() and single_precision(args):
            return call_op(self.narrow, args)
        return call_op(self, args)

    def set_narrow(self, Op other):
        """From now on `other` stands in for this op while autocast is on and all tensors are float32."""
        self.narrow = other

    def __get__(self, instance, owner):
        # As a function would: an op that is an attribute of the tensor type is a method of tensors.
        return self if instance is None else MethodType(self, instance)

    def __repr__(self):
        return f"<op {self.name}({', '.join(self.inputs + self.attributes)})>"

    def __reduce__(self):
        return _op_by_name, (self.name,)

    @property
    def flags(self):
        """The names of the flags that the C++ table gives the op."""
        names = {"broadcasts": kBroadcasts, "view": kView, "in_place": kInPlace, "draws": kDraws,
                 "takes_integers": kTakesIntegers, "first_is_condition": kFirstIsCondition, "any_types": kAnyTypes}
        return frozenset([n for n, bit in names.items() if self.row.flags & bit])

    @property
    def writes(self):
        """Positions of the inputs that the op changes in place."""
        return tuple([i for i in range(32) if self.row.writes >> i & 1])


cdef bint single_precision(tuple args):
    for x in args:
        if isinstance(x, Tensor):
            if (<Tensor>x).array.dtype != DType.Float32:
                return False
        elif isinstance(x, np.ndarray) and x.dtype != np.float32:
            return False
    return True


def _op_by_name(name):
    from pyneural.ops.record import RECORDS
    return RECORDS[name].function


def op_names():
    """Names of all ops in the C++ table."""
    cdef vector[const COp*] table = all_ops()
    cdef size_t i
    return [table[i].name.decode() for i in range(table.size())]


cdef int pack_attributes(Op op, tuple args, Py_ssize_t first, Attributes* out) except -1:
    cdef Py_ssize_t k, expected = len(op.attributes), given = len(args) - first
    if given != expected:
        raise TypeError(f"{op.name}: takes {first + expected} arguments ({', '.join(op.inputs + op.attributes)}), "
                        f"got {len(args)}")
    out.int_count = out.real_count = 0
    for k in range(first, len(args)):
        pack_attribute(op, op.attributes[k - first], args[k], out)
    return 0


cdef int pack_attribute(Op op, str name, value, Attributes* out) except -1:
    if type(value) is float:
        if out.real_count >= kMaxReals:
            raise ValueError(f"{op.name}: too many real attributes")
        out.reals[out.real_count] = value
        out.real_count += 1
        return 0
    if isinstance(value, (tuple, list)):
        pack_attribute(op, name, len(value), out)
        for item in value:
            pack_attribute(op, name, item, out)
        return 0
    if out.int_count >= kMaxInts:
        raise ValueError(f"{op.name}: the attributes are too long; a tensor has at most {kMaxDims} dimensions")
    if value is None:
        out.ints[out.int_count] = NONE
    elif isinstance(value, (float, np.floating)):
        out.reals[out.real_count] = value
        out.real_count += 1
        return 0
    elif not PyIndex_Check(value):
        raise TypeError(f"{op.name}: {name} is {value!r} but must be a number")
    else:
        out.ints[out.int_count] = value.__index__()
    out.int_count += 1
    return 0


cdef object call_op(Op op, tuple args):
    """Runs an op now and, if a gradient may be asked for, puts it on the tape."""
    cdef OpCall call
    cdef const Array* fixed[MAX_FIXED_INPUTS]
    cdef vector[const Array*] many
    cdef tuple inputs
    cdef Py_ssize_t n, i, first
    cdef Tensor t
    cdef bint uniform = True, recorded = False, heard = False
    cdef DType common = DType.Bool
    cdef int64_t work = 0

    if op.variadic:
        if not args:
            raise TypeError(f"{op.name}: takes a sequence of tensors")
        inputs = tuple(args[0])
        if not inputs:
            raise ValueError(f"{op.name}: needs at least one tensor, got an empty sequence")
        first = 1
    else:
        if len(args) < op.n_in:
            raise TypeError(f"{op.name}: takes {op.n_in + len(op.attributes)} arguments "
                            f"({', '.join(op.inputs + op.attributes)}), got {len(args)}")
        inputs = args
        first = op.n_in
    n = len(inputs) if op.variadic else op.n_in

    # The common case: tensors of one float type. Anything else is converted first.
    for i in range(n):
        value = inputs[i]
        if not isinstance(value, Tensor):
            if value is not None:
                uniform = False
            elif op.variadic or not op.optional >> i & 1:
                raise TypeError(f"{op.name}: {op.inputs[0 if op.variadic else i]} is None; it must be a tensor, array or number")
            continue
        t = <Tensor>value
        if i and t.array.dtype != common and common != DType.Bool:
            uniform = False
        common = t.array.dtype
    if not uniform or not is_float(common) or op.row.flags & (kFirstIsCondition | kAnyTypes):
        inputs = convert_inputs(op, inputs[:n])

    call.op = op.row
    call.inputs = n
    if n <= MAX_FIXED_INPUTS:
        call.in_ = fixed
        for i in range(n):
            fixed[i] = <const Array*>NULL if inputs[i] is None else &(<Tensor>inputs[i]).array
    else:
        many.resize(n)
        for i in range(n):
            many[i] = &(<Tensor>inputs[i]).array
        call.in_ = many.data()
    pack_attributes(op, args, first, &call.attributes)
    if op.differentiable and get_grad_enabled():
        for i in range(n):
            if inputs[i] is not None and (<Tensor>inputs[i]).requires_grad_ \
                    and op.rules[0 if op.variadic else i] is not None:
                recorded = True
                break

    for i in range(n):
        if call.in_[i] is not NULL:
            work += deref(call.in_[i]).size()
    if watchers and get_watcher() is not NULL:
        run_watched(op, inputs, n, args[first:], &call)
    elif work > 16384:
        with nogil:
            execute(call)
    else:
        execute(call)
    if get_observed():
        if get_capture() is not NULL:
            record_call(op, inputs, n, &call)
        heard = get_listener() is not NULL

    if op.row.outputs == 1:
        t = wrap(call.out[0])
        if recorded:
            t.node = record(op, inputs, n, args[first:], &call)
            t.requires_grad_ = True
        if heard:
            current_listener().called(op, inputs[:n], args[first:], (t,))
        return t
    if op.row.outputs == 0:
        if heard:
            current_listener().called(op, inputs[:n], args[first:], ())
        return None
    node = record(op, inputs, n, args[first:], &call) if recorded else None
    results = []
    for i in range(op.row.outputs):
        t = wrap(call.out[i])
        if recorded and is_float(t.array.dtype):
            t.node = node
            t.output_index = i
            t.requires_grad_ = True
        results.append(t)
    if heard:
        current_listener().called(op, inputs[:n], args[first:], tuple(results))
    return tuple(results)


cdef inline object current_listener():
    return <object>get_listener() if get_listener() is not NULL else None


def observed():
    """True while this thread's calls are recorded by a Capture, told to a listener or shown to a watcher."""
    return get_observed()


def listen(listener):
    """Tells an object of every call and every walk back on this thread, None: nobody; returns the one before.

    It has the methods ``called(op, inputs, attributes, outputs)``, after each op call, with the tensors that the op has
    seen and made; ``walk_begins(roots, gradients, create_graph)``, ``walked(node, arrived, messages)`` for each node,
    with the gradients of its outputs and of its inputs, and ``walk_ends(leaves)`` with the leaves and their gradients, in
    the order in which they were reached.
    """
    before = current_listener()
    if listener is not None:
        Py_INCREF(listener)
    set_listener(<PyObject*>listener if listener is not None else NULL)
    if before is not None:
        Py_DECREF(before)  # `before` itself still holds it
    return before


# Threads that have a watcher. A call looks at this one number; only where it is not 0 it asks for its own thread's.
cdef int watchers = 0


def watching():
    """What watches the op calls of this thread, or None."""
    return <object>get_watcher() if get_watcher() is not NULL else None


def watch_calls(watcher):
    """Shows every op call of this thread to watcher, or to nothing (None); returns what watched before.

    ``watcher.before(op, inputs, attributes, outputs)`` is called when the call was checked and its outputs have memory,
    but no values yet. If it returns True the kernel runs, and ``watcher.after(op, inputs, attributes, outputs)`` is
    called; else it has filled the outputs (or, of an op that works in place, changed its inputs) itself. The ops that a
    watcher calls are not shown to it.

    Raises:
        CaptureError: A step is being captured on this thread.
    """
    global watchers
    if get_capture() is not NULL:
        raise CaptureError(f"{user_line()}: reference() and compare_with_reference() cannot be entered in a step that is "
                           "being captured, because a replay would not enter them; call the step inside of them")
    earlier = watching()
    watchers += (watcher is not None) - (earlier is not None)
    if watcher is None:
        set_watcher(NULL)
    else:
        Py_INCREF(watcher)  # the thread's pointer holds it
        set_watcher(<PyObject*>watcher)
    if earlier is not None:
        Py_DECREF(earlier)
    return earlier


cdef int run_watched(Op op, tuple inputs, Py_ssize_t n, tuple attributes, OpCall* call) except -1:
    cdef PyObject* watcher = get_watcher()
    cdef object w = <object>watcher
    prepare(deref(call))
    given = inputs[:n]
    outputs = tuple([wrap(call.out[i]) for i in range(op.row.outputs)])
    set_watcher(NULL)
    try:
        if w.before(op, given, attributes, outputs):
            if not op.row.flags & kView:
                op.row.run(deref(call))
            w.after(op, given, attributes, outputs)
    finally:
        set_watcher(watcher)
    return 0


cdef int record_call(Op op, tuple inputs, Py_ssize_t n, OpCall* call) except -1:
    cdef Capture capture = current_capture()
    if op.row.flags & kDataShaped:
        raise CaptureError(f"{user_line()}: {op.name}: the shape of the result depends on values, so the step cannot be captured; "
                           "use where() or a mask of fixed shape, or leave this step uncompiled")
    for i in range(n):
        if inputs[i] is not None:
            capture.see_leaf(<Tensor>inputs[i])
    capture.program.record(deref(call))
    return 0


cdef inline object call2(Op op, a, b):
    return call_op(op, (a, b))


cdef int category(DType d):
    return 2 if is_float(d) else (0 if d == DType.Bool else 1)


cdef tuple convert_inputs(Op op, tuple inputs):
    """Tensors of one dtype from tensors, arrays and numbers of several.

    Tensors with dimensions decide; a 0-d tensor or a number only counts where it is of a higher kind (bool < integer <
    float): float32 times 0.1, or times a 0-d float64, stays float32.
    """
    cdef unsigned flags = op.row.flags
    cdef list values = list(inputs)
    cdef Py_ssize_t i
    cdef Tensor t
    cdef DType strong = DType.Bool, weak = DType.Bool, result
    cdef bint any_strong = False, any_weak = False
    for i in range(len(values)):
        value = values[i]
        if value is None:
            continue
        if not isinstance(value, Tensor):
            number = isinstance(value, (bool, int, float, np.generic))
            value = values[i] = as_tensor(value, op.name)
            if flags & kAnyTypes:
                continue
            if flags & kFirstIsCondition and i == 0:
                continue
            if number:
                t = <Tensor>value
                if not any_weak or category(t.array.dtype) > category(weak):
                    # A number brings its kind, not its width.
                    weak = t.array.dtype if not is_float(t.array.dtype) else DType.Float32
                    any_weak = True
                continue
        if flags & kAnyTypes or (flags & kFirstIsCondition and i == 0):
            continue
        t = <Tensor>value
        if t.array.ndim > 0:
            strong = promote(strong, t.array.dtype) if any_strong else t.array.dtype
            any_strong = True
        else:
            weak = promote(weak, t.array.dtype) if any_weak else t.array.dtype
            any_weak = True
    if flags & kAnyTypes:
        return tuple(values)
    result = strong if any_strong and (not any_weak or category(strong) >= category(weak)) else weak
    if not is_float(result) and not flags & kTakesIntegers:
        result = DType.Float32
    for i in range(len(values)):
        if values[i] is None:
            continue
        if flags & kFirstIsCondition and i == 0:
            values[i] = cast_to(<Tensor>values[i], DType.Bool)
        else:
            values[i] = cast_to(<Tensor>values[i], result)
    return tuple(values)


cdef Op CAST = None


cdef Tensor cast_to(Tensor t, DType dtype):
    global CAST
    if t.array.dtype == dtype:
        return t
    if CAST is None:
        CAST = _op_by_name("cast")
    return <Tensor>call_op(CAST, (t, <int>dtype))


include "tape.pxi"


def is_autocast_enabled():
    """Are products of float32 done on operands rounded to bfloat16 in this thread (see :class:`pyneural.autocast`)?"""
    return get_autocast()


def set_autocast_enabled(bint on):
    """Sets it; returns what it was."""
    before = get_autocast()
    set_autocast(on)
    return before


def is_grad_enabled():
    """True where operations on tensors that require a gradient are recorded (per thread)."""
    return get_grad_enabled()


def set_grad_mode(bint on):
    """Switches recording for this thread and returns the earlier state."""
    before = get_grad_enabled()
    set_grad_enabled(on)
    return before


cdef Op ADD, SUB, MUL, DIV, POW, NEG, ABS, MATMUL, FLOOR_DIVIDE, REMAINDER
cdef Op EQ, NE, LT, LE, GT, GE, AND, OR, XOR, NOT, ASSIGN, COPY, SQUARE, SQRT, RECIPROCAL
_matmul_vectors = None


def set_operators(dict ops, matmul_vectors):
    """Tells the operators of the tensor type (+, *, @, ==, ...) which ops they call; ``pyneural.ops`` does so once."""
    global ADD, SUB, MUL, DIV, POW, NEG, ABS, MATMUL, FLOOR_DIVIDE, REMAINDER
    global EQ, NE, LT, LE, GT, GE, AND, OR, XOR, NOT, ASSIGN, COPY, SQUARE, SQRT, RECIPROCAL, _matmul_vectors
    ADD, SUB, MUL, DIV, POW = ops["add"], ops["sub"], ops["mul"], ops["div"], ops["pow"]
    NEG, ABS, MATMUL = ops["neg"], ops["abs"], ops["matmul"]
    FLOOR_DIVIDE, REMAINDER = ops["floor_divide"], ops["remainder"]
    EQ, NE, LT, LE, GT, GE = ops["eq"], ops["ne"], ops["lt"], ops["le"], ops["gt"], ops["ge"]
    AND, OR, XOR, NOT = ops["logical_and"], ops["logical_or"], ops["logical_xor"], ops["logical_not"]
    ASSIGN, COPY = ops["assign"], ops["contiguous"]
    SQUARE, SQRT, RECIPROCAL = ops["square"], ops["sqrt"], ops["reciprocal"]
    _matmul_vectors = matmul_vectors
