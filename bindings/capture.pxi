# Capture and replay: a Capture listens while a step runs and ends as a Captured program. Included by engine.pyx.

class CaptureError(RuntimeError):
    """A step cannot be captured as it is; the message names the line and says what to do.

    Attributes:
        numbers: What the step has returned, if it ran to its end all the same (then its updates were made).
        values: Raised by an epoch: what the steps that were taken returned.
    """

    numbers = ()
    values = ()


cdef int64_t module_edits = 0


def module_edited():
    """Tells captured programs that some module has changed: a parameter, a mode, a number, a part. Modules say so."""
    global module_edits
    module_edits += 1


cdef bint same_fact(a, b):
    """Is b what a was? Plain values and tuples of them by value, everything else by identity."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if type(a) is tuple:
        return len(a) == len(b) and all([same_fact(x, y) for x, y in zip(a, b)])
    if type(a) is float:
        return repr(a) == repr(b)  # 0.0 is not -0.0, and NaN is NaN
    return type(a) in PLAIN_TYPES and a == b


cdef frozenset PLAIN_TYPES = frozenset([int, bool, str, bytes, complex, type(None)])


cdef str changed_fact(tuple before, tuple now, left):
    """None, or in words the first of two lists (name, value, name, value, ...) of facts that has changed."""
    cdef Py_ssize_t i
    if len(before) != len(now):
        names = set(before[::2]) ^ set(now[::2])
        return f"{', '.join(sorted(map(str, names))) or 'the number of its parts'} came or went"
    for i in range(0, len(before), 2):
        if same_fact(before[i], now[i]) and same_fact(before[i + 1], now[i + 1]):
            continue
        if left and before[i] in left:
            continue
        if type(before[i + 1]) in (int, float, bool, str):
            return f"{before[i]} was {before[i + 1]!r} and is {now[i + 1]!r}"
        return f"{before[i]} is another one"
    return None


cdef class Capture:
    """Records every op call between enter() and leave(), on this thread.

    Args:
        arguments: The tensors that the step is called with: other data may stand in their place at a replay.
        watched: What else the step can see: :func:`pyneural._surroundings.watch` of it.
    """

    cdef Program* program
    cdef list arguments
    cdef list variables         # which arguments required a gradient when the step was called
    cdef list adopted           # gradients found at the start: their memory may be another one at a replay
    cdef dict leaves            # id -> (tensor, requires_grad): what the step found and may have been frozen since
    cdef dict grads             # id -> [tensor, .grad when first looked at, was it read then, number in adopted or -1]
    cdef list values            # (line, tensor, its bytes): what Python has read of tensors outside the step
    cdef dict settings          # id -> (optimiser, its settings at its first update in the step)
    cdef set scheduled          # ids of optimisers whose settings a schedule in the step changes
    cdef bint scheduling
    cdef readonly list watched
    cdef readonly dict notes    # id -> (object, function that describes it, facts, is it a module)
    cdef readonly list before   # called before each replay
    cdef readonly list after    # called after each replay
    cdef list results           # what the step has returned, flattened
    cdef readonly object shape  # and how it is put together

    def __cinit__(self, list arguments, list watched=[]):
        cdef Tensor t
        self.program = new Program()
        self.arguments, self.watched = list(arguments), watched
        self.leaves, self.grads, self.notes, self.before, self.after = {}, {}, {}, [], []
        self.adopted, self.values, self.settings, self.scheduled = [], [], {}, set()
        for x in arguments:
            t = <Tensor?>x
            self.program.add_argument(t.array)
        self.variables = [bool((<Tensor>x).requires_grad_) for x in arguments]

    def __dealloc__(self):
        del self.program

    def enter(self):
        if get_capture() is not NULL:
            raise CaptureError("a step is captured already on this thread")
        set_capture(<PyObject*>self)

    def leave(self):
        set_capture(NULL)

    # ---- what the step's Python code tells ----

    def note(self, thing, describe):
        """Watches an object (a module, an optimiser): the program holds while describe(thing) gives what it gives now.

        The description is a tuple: name, value, name, value, ...
        """
        if id(thing) not in self.notes:
            self.notes[id(thing)] = (thing, describe, describe(thing), hasattr(thing, "_modules"))

    def update(self, optimizer):
        """An optimiser is about to make its update."""
        now = tuple([tuple(v.tolist()) for _, v in optimizer._hyper])
        known = self.settings.get(id(optimizer))
        if known is None:
            self.settings[id(optimizer)] = (optimizer, now)
            self.before.append(optimizer._refresh)
        elif known[1] != now:
            raise CaptureError(f"{user_line()}: the step changes the settings of {type(optimizer).__name__} between two of its "
                               "updates; a replay reads them once. Compile the two halves as two steps")

    def schedule(self, scheduler, again):
        """A schedule is about to take a step: replays call again(). Returns False inside of another one, which covers it."""
        if self.scheduling:
            return False
        optimizer = scheduler.optimizer
        (self.after if id(optimizer) in self.settings else self.before).append(again)
        self.scheduled.add(id(optimizer))
        self.scheduling = True
        return True

    def scheduled_step(self):
        """The schedule has taken its step."""
        self.scheduling = False

    # ---- what the engine tells ----

    cdef touch(self, Tensor t, bint reads):
        if id(t) in self.grads:
            return
        number = -1
        if reads and t.grad_ is not None and self.program.adopt((<Tensor>t.grad_).array):
            number = len(self.adopted)
            self.adopted.append(t)
        self.grads[id(t)] = [t, t.grad_, reads, number]

    cdef see_leaf(self, Tensor t):
        if t.node is None and id(t) not in self.leaves and not self.program.is_temporary(t.array):
            self.leaves[id(t)] = (t, bool(t.requires_grad_), <size_t>t.array.data)

    cdef int reads(self, Tensor t) except -1:
        """Python looks at the elements of a tensor."""
        cdef Array a = t.array
        if self.program.is_inside(a):
            return 0
        if self.program.is_computed(a):
            raise CaptureError(
                f"{user_line()}: the step reads a value that it computes or is called with (float(), item(), numpy(), print, "
                f"or a branch on a tensor; the tensor has shape {shape_of(t)}). A replay would not see the new value. Return "
                "the tensor from the step and read it outside, use where() in place of a branch, or leave this step uncompiled")
        if a.size() * <int64_t>item_size(a.dtype) > 4096:
            raise CaptureError(
                f"{user_line()}: the step reads a tensor of shape {shape_of(t)} from Python or NumPy (float(), item(), numpy(), "
                "print), which a replay would not do again. Compute with it by pyneural's ops, or read it outside")
        set_capture(NULL)
        try:
            self.values.append((user_line(), wrap(a), numpy_view(t).tobytes()))
        finally:
            set_capture(<PyObject*>self)
        return 0

    # ---- the end ----

    def end(self, list results, shape):
        """The step has run and returned these tensors, put together like this.

        Raises CaptureError if it did what a replay cannot do.
        """
        self.results, self.shape = results, shape
        for line, t, _ in self.values:
            if self.program.is_computed((<Tensor>t).array):
                raise CaptureError(
                    f"{line}: the step reads a tensor of shape {shape_of(<Tensor>t)} from Python (float(), item(), numpy(), "
                    "print, or a branch) and changes it afterwards, so the next replay would have to read it anew. Compute with "
                    "it by pyneural's ops, or leave this step uncompiled")
        for optimizer, settings in self.settings.values():
            if id(optimizer) in self.scheduled:
                continue
            now = tuple([tuple(map(float, optimizer._settings(g))) for g in optimizer.param_groups])
            if now != settings:
                raise CaptureError(
                    f"the step changes the settings of {type(optimizer).__name__} (its param_groups) in Python, which a replay "
                    "would not do; change them outside of the step, or by a schedule of pyneural.optim.lr_scheduler")
        for i, x in enumerate(self.arguments):
            entry = self.grads.get(id(x))
            if entry is not None and entry[1] is None and (<Tensor>x).grad_ is not None and not self.variables[i]:
                raise CaptureError(
                    f"the step leaves a gradient in its argument {i} of shape {shape_of(<Tensor>x)}, which did not require one "
                    "when it was called; return the gradient, or call the step with a tensor that requires one")

    def bytes(self):
        """What the recording holds: all temporaries of the step."""
        return self.program.held_bytes()

    def difference(self, Capture other):
        """Empty if both recorded the same program; else the first difference in words."""
        cdef Tensor t, u
        what = self.program.difference(deref(other.program)).decode()
        if what:
            return what
        if self.shape != other.shape:
            return "the step returns something else in each run"
        for i in range(len(self.results)):
            t, u = <Tensor>self.results[i], <Tensor>other.results[i]
            what = self.program.difference_of_values(t.array, deref(other.program), u.array).decode()
            if what:
                return f"result {i} {what}"
        for key, entry in self.grads.items():
            theirs = other.grads.get(key)
            if theirs is not None and entry[2] and theirs[2] and (entry[1] is None) != (theirs[1] is None):
                return f"the .grad of a tensor of shape {shape_of(<Tensor>entry[0])} is there in one run and not in the other"
        return ""

    def finish(self, Capture earlier, bint drop_unread=True, bint fuse=True, bint share_memory=True, bint block=True):
        """The program of two equal captures; optimised, and ready to run."""
        cdef Captured c = Captured.__new__(Captured)
        cdef Tensor t
        cdef Passes passes
        c.sources = []
        c.arguments = len(self.arguments)
        for r in self.results:
            t = <Tensor>r
            place = -1
            for i, x in enumerate(self.arguments):
                if x is t:
                    place = i
            if place >= 0:
                c.sources.append((place,))
            elif self.program.is_temporary(t.array) or self.program.is_argument(t.array):
                c.sources.append(self.program.add_result(t.array))
            else:
                c.sources.append(t if t.node is None else t.detach())
        # Tensors that only this run has seen were made by it: nobody can look at their .grad after a replay.
        for key, (t, at_start, read, number) in self.grads.items():
            if key not in earlier.grads:
                continue
            if read and number < 0:
                c.found.append((t, at_start))
            g = t.grad_
            if g is None:
                c.gradients.append((t, -1))
            elif g is at_start:
                pass
            elif self.program.is_temporary((<Tensor>g).array) or self.program.is_argument((<Tensor>g).array):
                if self.program.consumed_in_place((<Tensor>g).array):
                    # The update inside the step has used it; a fused update never writes it down.
                    t.grad_ = None
                    c.gradients.append((t, -1))
                else:
                    c.gradients.append((t, self.program.add_result((<Tensor>g).array)))
            else:
                c.constant_gradients.append((t, g))
        c.notes = []
        for thing, describe, facts, is_module in self.notes.values():
            left = set()
            if is_module:
                for name, value in list(vars(thing).items()):
                    if isinstance(value, Tensor) and self.program.is_temporary((<Tensor>value).array):
                        left.add(name)
                        c.left.append((vars(thing), name, self.program.add_result((<Tensor>value).array)))
            c.notes.append((thing, describe, facts, is_module, left))
        if self.program.result_count() > 64 or len(self.arguments) + len(self.adopted) > 64:
            raise CaptureError("a compiled step takes and returns at most 64 tensors, gradients that it finds or leaves included")
        c.leaves = [entry for key, entry in self.leaves.items()
                    if key in earlier.leaves and (entry[1] or not self.program.is_argument((<Tensor>entry[0]).array))]
        c.adopted = [((<Tensor>t), shape_of(<Tensor>t.grad_), (<Tensor>t.grad_).strides) for t in self.adopted]
        c.read_values, c.watched = self.values, self.watched
        c.before, c.after, c.single = self.before, self.after, bool(self.after) or bool(self.scheduled)
        c.edits = -1
        c.program = self.program
        self.program = NULL
        self.results = None
        passes.drop_unread, passes.fuse, passes.share_memory, passes.block = drop_unread, fuse, share_memory, block
        c.program.finish(passes)
        return c


cdef class Captured:
    """A program made of one captured step."""

    cdef Program* program
    cdef Py_ssize_t arguments
    cdef list sources           # per result: its number in the program, (argument,), or the tensor itself that lives outside
    cdef list gradients         # (tensor, number of the result that is its .grad, or -1: it has none)
    cdef list constant_gradients  # (tensor, the tensor from outside that is its .grad)
    cdef list left              # (attributes of a module, name, number of the result that the step leaves there)
    cdef list found             # (tensor, .grad that the step found)
    cdef list adopted           # (tensor, shape and strides of the .grad that the step adds to)
    cdef list leaves
    cdef list read_values
    cdef list watched
    cdef readonly list notes
    cdef readonly list before
    cdef readonly list after
    cdef readonly bint single           # Python code runs between replays (a schedule)
    cdef int64_t edits                  # of modules, when they were last found unchanged
    cdef readonly Py_ssize_t reached    # the batch that run_rows() stopped at, also where a check has raised

    def __cinit__(self):
        self.found, self.gradients, self.constant_gradients, self.left = [], [], [], []

    def __dealloc__(self):
        del self.program

    def miss(self):
        """None while everything that the step relied on is as it was; else what has changed, in words."""
        cdef Tensor t
        cdef bint edited = self.edits != module_edits
        cdef int64_t edits = module_edits
        for kind, holder, name, value, label in self.watched:
            if kind == 0:
                try:
                    now = holder.cell_contents
                except ValueError:
                    now = None
            elif kind == 1:
                now = (<dict>holder).get(name)
            elif kind == 2:
                now = getattr(holder, name, None)
            elif kind == 3:
                now = len(holder)
            else:
                now = holder[name]
            if now is not value and not same_fact(value, now):
                return changed_fact((label, value), (label, now), None)
        for thing, describe, facts, is_module, left in self.notes:
            if is_module and not edited:
                continue
            what = changed_fact(facts, describe(thing), left)
            if what is not None:
                return f"{type(thing).__name__}: {what}"
        for x, requires_grad, address in self.leaves:
            t = <Tensor>x
            if t.requires_grad_ != <bint>requires_grad:
                return f"a tensor of shape {shape_of(t)} now has requires_grad={not requires_grad}"
            if <size_t>t.array.data != <size_t>address:
                return f"a tensor of shape {shape_of(t)} now lies elsewhere (it was converted, or given other memory)"
        for x, g in self.found:
            if (<Tensor>x).grad_ is not g:
                t = <Tensor>x
                return (f"the .grad of a tensor of shape {shape_of(t)} "
                        + ("was not there when the step was recorded, and is now" if g is None else "is another one"))
        for x, shape, strides in self.adopted:
            g = (<Tensor>x).grad_
            if g is None:
                return f"the .grad of a tensor of shape {shape} was there when the step was recorded, and is not now"
            if g.shape != shape or g.strides != strides or (<Tensor>g).array.dtype != (<Tensor>x).array.dtype:
                return f"the .grad of a tensor of shape {shape} is laid out differently now"
        for _, x, content in self.read_values:
            if numpy_view(<Tensor>x).tobytes() != content:
                return f"a tensor of shape {shape_of(<Tensor>x)}, whose value the step reads in Python, has another value"
        self.edits = edits
        return None

    cdef int put(self, const Array** pointers, list arguments) except -1:
        """Lays out the arguments, and the gradients that the step adds to."""
        cdef Py_ssize_t i, n = len(arguments)
        cdef Tensor t
        for i in range(n):
            pointers[i] = &(<Tensor?>arguments[i]).array
        for i in range(len(self.adopted)):
            t = <Tensor>(<Tensor>self.adopted[i][0]).grad_
            pointers[n + i] = &t.array
        return 0

    cdef int take(self, Array* results) except -1:
        """Hands gradients and what the step leaves in modules to where they belong."""
        self.program.copy_results(results)
        for t, number in self.gradients:
            (<Tensor>t).grad_ = None if number < 0 else wrap(results[<int>number])
        for t, g in self.constant_gradients:
            (<Tensor>t).grad_ = g
        for attributes, name, number in self.left:
            value = wrap(results[<int>number])
            attributes[name] = value
            for registry in ("_buffers",):
                if name in attributes[registry]:
                    attributes[registry][name] = value
        return 0

    def run(self, list arguments):
        """One replay; returns the results. The arguments must be as at capture: shapes, dtypes, strides."""
        cdef const Array* pointers[64]
        cdef Array results[64]
        for f in self.before:
            f()
        self.put(pointers, arguments)
        with nogil:
            self.program.run(pointers)
        self.take(results)
        for f in self.after:
            f()
        return [wrap(results[<int>s]) if type(s) is int else (arguments[s[0]] if type(s) is tuple else s) for s in self.sources]

    def values(self):
        """How many numbers a replay gives, or -1 if some result is not a single number made by the program."""
        for s in self.sources:
            if type(s) is not int or self.program.result(<size_t><int>s).size() != 1 \
                    or not is_float(self.program.result(<size_t><int>s).dtype):
                return -1
        return len(self.sources)

    def run_rows(self, list data, list tables, const int64_t[::1] order, Py_ssize_t batch, Py_ssize_t first, Py_ssize_t last,
                 double[:, ::1] values, double limit):
        """Replays batches first to last - 1 of an epoch, until `limit` seconds have passed; returns the next batch's number.

        Args:
            data: For each argument a contiguous tensor (N, ...), whose rows order[k * batch : (k + 1) * batch] are batch k.
            tables: For each argument None, or 256 values that its bytes stand for.
            order: Row numbers, in range.
            values: Row k takes the results of batch k, which are single numbers.
        """
        cdef Py_ssize_t k = first, i, n = len(data)
        self.reached = first
        cdef int j, count = len(self.sources)
        cdef RowTaker takers[64]
        cdef const Array* pointers[64]
        cdef const void* scale
        cdef int numbers[64]
        cdef Array results[64]
        cdef Tensor t
        cdef double before = seconds(), now, until = before + limit
        cdef Py_ssize_t look = first + 1, every = 1
        cdef list buffers = []
        cdef const Array* r
        for i in range(n):
            shape = (batch,) + data[i].shape[1:]
            if tables[i] is None:
                scale = NULL
                t = tensor_from_array(np.empty(shape, np.int64 if data[i].dtype.kind in "iu" else data[i].dtype), False)
            else:
                scale = (<Tensor?>tables[i]).array.data
                t = tensor_from_array(np.empty(shape, tables[i].dtype), False)
            buffers.append(t)
            takers[i] = RowTaker((<Tensor?>data[i]).array, scale, t.array)
        for j in range(count):
            numbers[j] = self.sources[j]
        for f in self.before:
            f()
        self.put(pointers, buffers)
        try:
            with nogil:
                while k < last:
                    for i in range(n):
                        takers[i].take(&order[k * batch])
                    self.program.run(pointers)
                    for j in range(count):
                        r = &self.program.result(numbers[j])
                        values[k, j] = (<double*>r.data)[0] if r.dtype == DType.Float64 else (<float*>r.data)[0]
                    k += 1
                    if k < look:
                        continue
                    now = seconds()
                    if now > until:
                        break
                    # Looking at the clock costs as much as a tiny step: not after each of them.
                    every = min(2 * every, 256) if now - before < 1e-4 else 1
                    look, before = k + every, now
        finally:
            self.reached = k
        if k > first:
            self.take(results)
        return k

    def guards(self):
        """What miss() checks, in words."""
        words = [label for _, _, _, _, label in self.watched]
        words += [f"{type(thing).__name__}: {', '.join(dict.fromkeys([str(n) for n in facts[::2]]))}"
                  for thing, _, facts, _, _ in self.notes]
        words += [f"a tensor of shape {shape_of(<Tensor>t)}: requires_grad={on}, its memory" for t, on, _ in self.leaves]
        words += [f"a tensor of shape {shape_of(<Tensor>t)}: its .grad is {'None' if g is None else 'the same'}"
                  for t, g in self.found]
        words += [f"a tensor of shape {shape}: it has a .grad" for _, shape, _ in self.adopted]
        words += [f"a tensor of shape {shape_of(<Tensor>t)}: its value, read at {line}" for line, t, _ in self.read_values]
        return words

    def listing(self):
        """What a replay does: a list of steps, dicts with ``what`` and ``calls``; a call is a dict as well.

        A call has ``op``, ``inputs`` and ``outputs`` (dtype, shape and place of each), ``operations`` and ``bytes``.
        """
        cdef vector[StepText] steps = self.program.listing()
        cdef size_t i, j
        found = []
        for i in range(steps.size()):
            calls = []
            for j in range(steps[i].calls.size()):
                calls.append({"op": steps[i].calls[j].op.decode(), "inputs": [s.decode() for s in steps[i].calls[j].inputs],
                              "outputs": [s.decode() for s in steps[i].calls[j].outputs],
                              "operations": steps[i].calls[j].operations, "bytes": steps[i].calls[j].bytes})
            found.append({"what": steps[i].what.decode(), "calls": calls})
        return found

    def steps(self):
        """How many things a replay does, after fusion."""
        return self.program.steps()

    def calls(self):
        """How many op calls are left of the captured ones."""
        return self.program.instructions()

    def bytes(self):
        """(bytes of temporaries at capture, bytes of the arena that a replay needs)."""
        return self.program.captured_bytes(), self.program.arena_bytes()


def rows_of(Tensor data, table, const int64_t[::1] rows):
    """The given rows of a contiguous tensor, integers as int64, bytes through a table of 256 values if there is one."""
    cdef Tensor out
    shape = (rows.shape[0],) + data.shape[1:]
    dtype = table.dtype if table is not None else (np.int64 if data.dtype.kind in "iu" else data.dtype)
    out = tensor_from_array(np.empty(shape, dtype), False)
    cdef const void* scale = NULL
    if table is not None:
        scale = (<Tensor?>table).array.data
    if rows.shape[0]:
        RowTaker(data.array, scale, out.array).take(&rows[0])
    return out


cdef inline Capture current_capture():
    return <Capture>get_capture() if get_capture() is not NULL else None


def capturing():
    """The Capture that records this thread, or None."""
    return current_capture()


def user_line():
    """"file:line" of the innermost frame outside the package."""
    import os
    import sys
    root = os.path.dirname(os.path.abspath(sys.modules["pyneural"].__file__))
    frame = sys._getframe(0)
    while frame is not None and os.path.abspath(frame.f_code.co_filename).startswith(root):
        frame = frame.f_back
    return "?" if frame is None else f"{frame.f_code.co_filename}:{frame.f_lineno}"


cdef int refuse_reading(Tensor t) except -1:
    """While a step is captured, Python may not look at what a replay would have to look at again."""
    cdef Capture capture = current_capture()
    if capture is not None:
        capture.reads(t)
    return 0
