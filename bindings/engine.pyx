# cython: boundscheck=False, binding=True, embedsignature=True, embedsignature.format=python
"""What every eager op passes through: tensors, calls into the op table, the tape, and the walk back along it."""
cimport cython
cimport numpy as cnp
from core cimport *
from cpython.object cimport PyObject, PyTypeObject
from cpython.ref cimport Py_INCREF, Py_REFCNT
from cython.operator cimport dereference as deref
from libc.string cimport memcpy

from types import MethodType

import numpy as np

cnp.import_array()

cdef extern from "numpy/arrayobject.h":
    object PyArray_NewFromDescr(PyTypeObject*, cnp.dtype, int, cnp.npy_intp*, cnp.npy_intp*, void*, int, PyObject*)

cdef enum:
    MAX_FIXED_INPUTS = 8

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
    cdef tuple rules          # per input: None or (rule, plan)
    cdef tuple needs          # per input: what its rule reads, as a bit mask of inputs
    cdef tuple shape_needs    # the same for shapes
    cdef unsigned optional    # bit i: input i may be None
    cdef unsigned reads_outputs
    cdef bint differentiable

    def __init__(self, str name, tuple inputs, tuple attributes, dict gradient, str doc=""):
        cdef bytes encoded = name.encode()
        self.row = find_op(encoded)
        if self.row is NULL:
            raise ValueError(f"op {name}: there is a record in pyneural/ops but no row of this name in csrc/ops")
        self.name, self.attributes, self.gradient, self.__doc__ = name, attributes, gradient, doc
        self.variadic = self.row.inputs < 0
        self.inputs = tuple([i.strip("*?") for i in inputs])
        for k, i in enumerate(inputs):
            if i.endswith("?"):
                self.optional |= 1 << k
        self.n_in = self.row.inputs
        if not self.variadic and self.n_in != len(inputs):
            raise ValueError(f"op {name}: the record names {len(inputs)} inputs {inputs}, the table says {self.n_in}")
        unknown = set(gradient) - set(self.inputs)
        if unknown:
            raise ValueError(f"op {name}: gradient rules for {sorted(unknown)}, which are not among the inputs {self.inputs}")
        self.differentiable = bool(gradient)
        rules, needs, shape_needs = [], [], []
        for i in self.inputs:
            rule = gradient.get(i)
            if rule is None:
                rules.append(None); needs.append(0); shape_needs.append(0)
                continue
            plan, need, shapes = self._plan(rule, i)
            rules.append((rule, plan)); needs.append(need); shape_needs.append(shapes)
        self.rules, self.needs, self.shape_needs = tuple(rules), tuple(needs), tuple(shape_needs)

    cdef tuple _plan(self, rule, str wrt):
        """How to find each argument of a rule: (kind, index) pairs, and the inputs whose values or shapes it reads."""
        cdef int outputs = self.row.outputs
        code = rule.__code__
        names = code.co_varnames[: code.co_argcount]
        gradient_names = ("g",) if outputs == 1 else tuple([f"g{k}" for k in range(outputs)])
        output_names = ("y",) if outputs == 1 else tuple([f"y{k}" for k in range(outputs)])
        plan, need, shapes = [], 0, 0
        for name in names:
            if name in gradient_names:
                plan.append(("g", gradient_names.index(name)))
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
        return call_op(self, args)

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
        pack_attribute(op, args[k], out)
    return 0


cdef int pack_attribute(Op op, value, Attributes* out) except -1:
    if type(value) is float:
        if out.real_count >= kMaxReals:
            raise ValueError(f"{op.name}: too many real attributes")
        out.reals[out.real_count] = value
        out.real_count += 1
        return 0
    if isinstance(value, (tuple, list)):
        pack_attribute(op, len(value), out)
        for item in value:
            pack_attribute(op, item, out)
        return 0
    if out.int_count >= kMaxInts:
        raise ValueError(f"{op.name}: the attributes are too long; a tensor has at most {kMaxDims} dimensions")
    if value is None:
        out.ints[out.int_count] = NONE
    elif isinstance(value, (float, np.floating)):
        out.reals[out.real_count] = value
        out.real_count += 1
        return 0
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
    cdef bint uniform = True, recorded = False
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
    if work > 16384:
        with nogil:
            execute(call)
    else:
        execute(call)
    if get_capture() is not NULL:
        record_call(op, inputs, n, &call)

    if op.row.outputs == 1:
        t = wrap(call.out[0])
        if recorded:
            t.node = record(op, inputs, n, args[first:], &call)
            t.requires_grad_ = True
        return t
    if op.row.outputs == 0:
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
    return tuple(results)


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


# ---- the tape ----

cdef int64_t sequence = 0


@cython.trashcan(True)
@cython.final
cdef class Node:
    """One recorded call: the op, where its inputs came from, and what its gradient rules read."""

    cdef readonly Op op
    cdef readonly tuple attributes
    cdef readonly int64_t number       # calls are numbered in order: a node's inputs have smaller numbers
    cdef tuple edges                   # per input: the Node or the leaf Tensor that the gradient goes to, or None
    cdef tuple edge_outputs            # which output of that node; None: always the first
    cdef tuple saved                   # per input: the tensor if some rule reads it
    cdef tuple versions                # its storage's version when it was saved
    cdef tuple shapes                  # per input: its shape where it is needed, and dtype
    cdef tuple dtypes
    cdef Array outputs[4]
    cdef int64_t output_versions[4]
    cdef int n_out

    def __repr__(self):
        return f"<{self.op.name} #{self.number}>"

    @property
    def inputs(self):
        """The nodes and leaf tensors that the call's inputs came from (None where no gradient goes)."""
        return self.edges

    cdef release(self):
        self.saved = self.versions = None
        for i in range(self.n_out):
            self.outputs[i] = Array()


cdef Node record(Op op, tuple inputs, Py_ssize_t n, tuple attributes, OpCall* call):
    global sequence
    cdef Node node = Node.__new__(Node)
    cdef Tensor t
    cdef Py_ssize_t i, r
    cdef unsigned need = 0, shape_need = 0
    cdef bint plain_edges = True
    sequence += 1
    node.number = sequence
    node.op = op
    node.attributes = attributes
    edges = [None] * n
    for i in range(n):
        if inputs[i] is None:
            continue
        t = <Tensor>inputs[i]
        r = 0 if op.variadic else i
        if not t.requires_grad_ or op.rules[r] is None:
            continue
        need |= <unsigned>op.needs[r]
        shape_need |= <unsigned>op.shape_needs[r]
        if op.row.flags & kBroadcasts and not t.array.same_shape(call.out[0]):
            shape_need |= 1 << i
        if t.node is None:
            edges[i] = t
        else:
            edges[i] = t.node
            if t.output_index:
                plain_edges = False
    node.edges = tuple(edges)
    if not plain_edges:
        node.edge_outputs = tuple([0 if x is None else (<Tensor>x).output_index for x in inputs[:n]])
    if need:
        node.saved = tuple([inputs[i] if need >> i & 1 else None for i in range(n)])
        node.versions = tuple([(<Tensor>inputs[i]).array.storage.version if need >> i & 1 and inputs[i] is not None else 0
                               for i in range(n)])
    if shape_need:
        if op.variadic:
            shape_need = 0xffffffff
        node.shapes = tuple([shape_of(inputs[i]) if op.variadic or shape_need >> i & 1 else None for i in range(n)])
        node.dtypes = tuple([<int>(<Tensor>inputs[i]).array.dtype if inputs[i] is not None else -1 for i in range(n)])
    node.n_out = op.row.outputs
    if op.reads_outputs:
        for i in range(node.n_out):
            if op.reads_outputs >> i & 1:
                node.outputs[i] = call.out[i]
                node.output_versions[i] = call.out[i].storage.version
    return node


cdef tuple shape_of(Tensor t):
    return tuple([t.array.shape[d] for d in range(t.array.ndim)]) if t is not None else None


cdef object changed(Node node, str what):
    return RuntimeError(
        f"{node.op.name}: {what} was changed in place after the forward pass, but its old value is needed for the gradient; "
        "change a copy (x = x + 1 instead of x += 1), or call backward() first")


cdef list run_rules(Node node, list gradients):
    """The gradients that a node sends to its inputs, from those of its outputs."""
    cdef Op op = node.op
    cdef Py_ssize_t i, n = len(node.edges)
    cdef Tensor t
    if node.saved is None and any([bool(x) for x in op.needs]) and node.versions is None \
            and any([op.needs[0 if op.variadic else i] for i in range(n) if node.edges[i] is not None]):
        raise RuntimeError(f"{op.name}: this graph was already walked back and its saved values are gone; "
                           "pass retain_graph=True to the first backward()")
    messages = [None] * n
    for i in range(n):
        if node.edges[i] is None:
            continue
        rule, plan = op.rules[0 if op.variadic else i]
        args = []
        for kind, index in plan:
            if kind == "g":
                g = gradients[index]
                if g is None:
                    t = wrap(node.outputs[index]) if node.outputs[index].storage is not NULL else None
                    if t is None:
                        raise RuntimeError(f"{op.name}: output {index} has no gradient and its shape is unknown")
                    g = gradients[index] = zeros_like_tensor(t)
                args.append(g)
            elif kind == "x":
                t = <Tensor>node.saved[index]
                if t is not None and t.array.storage.version != <int64_t>node.versions[index]:
                    raise changed(node, f"its argument {op.inputs[index]} {shape_of(t)}")
                args.append(t)
            elif kind == "y":
                if node.outputs[index].storage is NULL:
                    raise RuntimeError(f"{op.name}: this graph was already walked back and its saved values are gone; "
                                       "pass retain_graph=True to the first backward()")
                if node.outputs[index].storage.version != node.output_versions[index]:
                    raise changed(node, "its result")
                t = wrap(node.outputs[index])
                t.node = node
                t.output_index = index
                t.requires_grad_ = True
                args.append(t)
            elif kind == "a":
                args.append(node.attributes[index])
            elif kind == "s":
                args.append(node.shapes if op.variadic else node.shapes[index])
            elif kind == "t":
                args.append(node.dtypes[index])
            else:
                args.append(i)
        message = rule(*args)
        if message is None:
            continue
        if op.row.flags & kBroadcasts and node.shapes is not None and node.shapes[i] is not None:
            message = sum_to(message, node.shapes[i])
        messages[i] = message
    return messages


_sum_to = None


cdef object sum_to(Tensor g, tuple shape):
    """g summed over the axes along which a tensor of this shape was broadcast."""
    global _sum_to
    if shape_of(g) == shape:
        return g
    if _sum_to is None:
        from pyneural.ops.reduction import sum_to as function
        _sum_to = function
    return _sum_to(g, shape)


cdef Tensor zeros_like_tensor(Tensor t):
    return tensor_from_array(np.zeros(shape_of(t), NUMPY_TYPES[<int>t.array.dtype]), False)


cdef object plus(a, b):
    return call2(ADD, a, b)


def run_backward(list roots, list gradients, bint retain_graph, bint create_graph, inputs=None):
    """Walks the tape from roots to the leaves.

    Args:
        roots: Tensors that require a gradient.
        gradients: For each root the gradient that it starts with.
        retain_graph: Keep what the nodes have saved for another walk.
        create_graph: Record the walk itself, so that the gradients can be differentiated.
        inputs: None: add to ``.grad`` of every leaf. A list of tensors: return the gradients of these (None where the
            roots do not depend on one) and leave every ``.grad`` alone.
    """
    cdef Tensor t
    cdef Node node
    cdef dict pending = {}      # node -> gradients of its outputs
    cdef dict leaves = {}       # id of a leaf -> [leaf, gradient]
    cdef dict wanted = {}       # (node, output) -> positions in inputs
    cdef list found = None
    cdef bint before = get_grad_enabled()
    for x in roots + gradients + (inputs or []):
        if not isinstance(x, Tensor):
            raise TypeError(f"expected tensors, got {type(x).__name__}")
    if inputs is not None:
        found = [None] * len(inputs)
        for i, x in enumerate(inputs):
            t = <Tensor>x
            if t.node is not None:
                wanted.setdefault((t.node, t.output_index), []).append(i)
    order = reachable([(<Tensor>r).node for r in roots if (<Tensor>r).node is not None])
    try:
        set_grad_enabled(create_graph)
        for root, g in zip(roots, gradients):
            t = <Tensor>root
            if t.node is None:
                add_leaf(leaves, t, g)
            else:
                add_pending(pending, t.node, t.output_index, g)
        for node in order:
            arrived = pending.pop(node, None)
            if arrived is None:
                continue
            if wanted:
                for k in range(len(arrived)):
                    for i in wanted.get((node, k), ()):
                        found[i] = arrived[k]
            messages = run_rules(node, arrived)
            for i in range(len(messages)):
                if messages[i] is None:
                    continue
                target = node.edges[i]
                if isinstance(target, Node):
                    add_pending(pending, <Node>target, 0 if node.edge_outputs is None else node.edge_outputs[i], messages[i])
                else:
                    add_leaf(leaves, <Tensor>target, messages[i])
            if not retain_graph:
                node.release()
        if found is not None:
            for i, x in enumerate(inputs):
                if id(x) in leaves:
                    found[i] = leaves[id(x)][1]
            return found
        # A gradient is handed over as it is only if nobody else can hold it or see its memory: the walk may have sent
        # one tensor to several leaves, or a window on the tensor that it started from.
        shared = set([id(g) for g in gradients])
        for leaf, g in leaves.values():
            t = <Tensor>leaf
            if get_capture() is not NULL:
                current_capture().touch(t, True)
            if t.grad_ is not None:
                # In place, as in PyTorch: whoever holds the gradient sees it grow. Not where the sum is itself on the tape.
                if create_graph:
                    t.grad_ = plus(t.grad_, g)
                else:
                    call2(ASSIGN, t.grad_, plus(t.grad_, g))
            elif create_graph:
                t.grad_ = g
            elif id(g) in shared or not sole_owner(<Tensor>g):
                t.grad_ = call_op(COPY, (g,))
            else:
                t.grad_ = g
            shared.add(id(g))
    finally:
        set_grad_enabled(before)


cdef bint sole_owner(Tensor g):
    # A capture holds every storage once.
    cdef int64_t alone = 1 if get_capture() is NULL else 2
    return g.array.storage.shared() == alone and Py_REFCNT(g) <= 3 and g.array.contiguous()


cdef add_leaf(dict leaves, Tensor leaf, g):
    entry = leaves.get(id(leaf))
    if entry is None:
        leaves[id(leaf)] = [leaf, g]
    else:
        entry[1] = plus(entry[1], g)


cdef add_pending(dict pending, Node node, int output, g):
    cdef list arrived = pending.get(node)
    if arrived is None:
        arrived = pending[node] = [None] * node.n_out
    arrived[output] = g if arrived[output] is None else plus(arrived[output], g)


def _number(Node node):
    return node.number


cdef list reachable(list roots):
    """Every node behind the roots, latest call first."""
    cdef set seen = set(roots)
    cdef list todo = list(seen)
    cdef Node node
    while todo:
        node = <Node>todo.pop()
        for source in node.edges:
            if isinstance(source, Node) and source not in seen:
                seen.add(source)
                todo.append(source)
    return sorted(seen, key=_number, reverse=True)


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
