# The tape: recorded calls, and the walk back along them. Included by engine.pyx.

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

    @property
    def sources(self):
        """Per input: the node or leaf tensor that its gradient goes to and which of that node's outputs it is, or None."""
        return tuple([None if e is None else (e, 0 if self.edge_outputs is None else self.edge_outputs[i])
                      for i, e in enumerate(self.edges)])

    @property
    def kept(self):
        """What is kept for the gradient rules and still as it was: (inputs, outputs), tensors off the tape or None."""
        inputs = [None] * len(self.edges)
        if self.saved is not None:
            inputs = [None if x is None or (<Tensor>x).array.storage.version != <int64_t>v else wrap((<Tensor>x).array)
                      for x, v in zip(self.saved, self.versions)]
        outputs = [None if self.outputs[i].storage is NULL or self.outputs[i].storage.version != self.output_versions[i]
                   else wrap(self.outputs[i]) for i in range(self.n_out)]
        return tuple(inputs), tuple(outputs)

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
    shared = None  # what the rules for several inputs have given
    for i in range(n):
        if node.edges[i] is None:
            continue
        rule, plan, place = op.rules[0 if op.variadic else i]
        if shared is not None and place is not None and rule in shared:
            messages[i] = summed(node, i, made(shared[rule][place]))
            continue
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
            elif kind == "g?":
                args.append(gradients[index])
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
        if place is not None:
            shared = {**(shared or {}), rule: message}
            message = made(message[place])
        messages[i] = summed(node, i, message)
    return messages


cdef object made(message):
    # What not every walk wants is left to be made.
    return message() if message is not None and not isinstance(message, Tensor) else message


cdef object summed(Node node, Py_ssize_t i, message):
    """The gradient for input i, summed over the axes along which the input was broadcast."""
    if message is not None and node.op.row.flags & kBroadcasts and node.shapes is not None and node.shapes[i] is not None:
        return sum_to(message, node.shapes[i])
    return message


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
    listener = current_listener()
    if listener is not None:
        listener.walk_begins(roots, gradients, create_graph)
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
            if listener is not None:
                listener.walked(node, arrived, messages)
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
        if listener is not None:
            listener.walk_ends([(leaf, g) for leaf, g in leaves.values()])
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
