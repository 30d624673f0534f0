# Capture and replay: a Capture listens while a step runs and ends as a Captured program. Included by engine.pyx.

class CaptureError(RuntimeError):
    """A step cannot be captured as it is; the message names the line and says what to do.

    Attributes:
        numbers: What the step has returned, if it ran to its end all the same (then its updates were made).
        values: Raised by an epoch: what the steps that were taken returned.
    """

    numbers = ()
    values = ()


cdef class Capture:
    """Records every op call between enter() and leave(), on this thread.

    Args:
        arguments: The tensors that the step is called with: other data may stand in their place at a replay.
    """

    cdef Program* program
    cdef list arguments
    cdef dict leaves            # id -> (tensor, requires_grad): what the step found and may have been frozen since
    cdef dict grads             # id -> [tensor, .grad when it was first looked at, was it first read]
    cdef readonly dict notes    # id -> (object, function that describes it, description)
    cdef readonly list before   # called before each replay
    cdef readonly list after    # called after each replay

    def __cinit__(self, list arguments):
        cdef Tensor t
        self.program = new Program()
        self.arguments = list(arguments)
        self.leaves, self.grads, self.notes, self.before, self.after = {}, {}, {}, [], []
        for x in arguments:
            t = <Tensor?>x
            self.program.add_argument(t.array)

    def __dealloc__(self):
        del self.program

    def enter(self):
        if get_capture() is not NULL:
            raise CaptureError("a captured step cannot itself be called while another one is captured; compile the outer one only")
        set_capture(<PyObject*>self)

    def leave(self):
        set_capture(NULL)

    def note(self, thing, describe):
        """Watches an object (a module, an optimiser): the program holds while describe(thing) gives what it gives now."""
        if id(thing) not in self.notes:
            self.notes[id(thing)] = (thing, describe, describe(thing))

    cdef touch(self, Tensor t, bint reads):
        if id(t) not in self.grads:
            self.grads[id(t)] = [t, t.grad_, reads]

    cdef see_leaf(self, Tensor t):
        if t.node is None and id(t) not in self.leaves and not self.program.is_temporary(t.array):
            self.leaves[id(t)] = (t, bool(t.requires_grad_))

    def finish(self, list results, bint drop_unread=True, bint fuse=True, bint share_memory=True):
        """The program, with the given tensors as its results; optimised, and ready to run."""
        cdef Captured c = Captured.__new__(Captured)
        cdef Tensor t
        cdef Passes passes
        c.sources = []
        for r in results:
            t = <Tensor>r
            if self.program.is_computed(t.array):
                c.sources.append(self.program.add_result(t.array))
            else:
                c.sources.append(t)
        c.gradients = []
        for t, at_start, read in self.grads.values():
            if read:
                c.found.append((t, at_start))
            g = t.grad_
            if g is None:
                c.gradients.append((t, -1))
            elif self.program.is_temporary((<Tensor>g).array):
                if self.program.consumed_in_place((<Tensor>g).array):
                    # The update inside the step has used it; a fused update never writes it down.
                    t.grad_ = None
                    c.gradients.append((t, -1))
                else:
                    c.gradients.append((t, self.program.add_result((<Tensor>g).array)))
        if self.program.result_count() > 64 or len(self.arguments) > 64:
            raise CaptureError("a compiled step takes and returns at most 64 tensors, gradients that it leaves included")
        c.leaves = list(self.leaves.values())
        c.notes = list(self.notes.values())
        c.before, c.after = self.before, self.after
        c.program = self.program
        self.program = NULL
        passes.drop_unread, passes.fuse, passes.share_memory = drop_unread, fuse, share_memory
        c.program.finish(passes)
        return c

    def difference(self, Capture other):
        """Empty if both recorded the same program; else the first difference in words."""
        return self.program.difference(deref(other.program)).decode()


cdef class Captured:
    """A program made of one captured step."""

    cdef Program* program
    cdef list sources           # per result: its number in the program, or the tensor itself that lives outside
    cdef list gradients         # (tensor, number of the result that is its .grad, or -1: it has none)
    cdef list found             # (tensor, .grad that the step found)
    cdef list leaves
    cdef list notes
    cdef readonly list before
    cdef readonly list after
    cdef readonly Py_ssize_t reached    # the batch that run_rows() stopped at, also where a check has raised

    def __cinit__(self):
        self.found = []

    def __dealloc__(self):
        del self.program

    def miss(self):
        """None while everything that the step relied on is as it was; else what has changed, in words."""
        for thing, describe, description in self.notes:
            if describe(thing) != description:
                return f"{type(thing).__name__} has changed (its parameters, mode or settings)"
        for t, requires_grad in self.leaves:
            if (<Tensor>t).requires_grad_ != requires_grad:
                return f"a tensor of shape {shape_of(<Tensor>t)} now has requires_grad={not requires_grad}"
        for t, g in self.found:
            if (<Tensor>t).grad_ is not g:
                return f"the .grad that the step adds to, of shape {shape_of(<Tensor>t)}, is another one"
        return None

    def run(self, list arguments):
        """One replay; returns the results. The arguments must be as at capture: shapes, dtypes, strides."""
        cdef const Array* pointers[64]
        cdef Array results[64]
        cdef Py_ssize_t i, n = len(arguments)
        cdef Tensor t
        for i in range(n):
            pointers[i] = &(<Tensor?>arguments[i]).array
        for f in self.before:
            f()
        with nogil:
            self.program.run(pointers)
        self.program.copy_results(results)
        for t, number in self.gradients:
            t.grad_ = None if number < 0 else wrap(results[<int>number])
        for f in self.after:
            f()
        return [wrap(results[<int>s]) if isinstance(s, int) else s for s in self.sources]

    def values(self):
        """How many numbers a replay gives, or -1 if some result is not a single number made by the program."""
        for s in self.sources:
            if not isinstance(s, int) or self.program.result(<size_t><int>s).size() != 1:
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
        cdef int j, count = len(self.sources)
        cdef const Array* sources[64]
        cdef const Array* pointers[64]
        cdef const void* scales[64]
        cdef int numbers[64]
        cdef Array results[64]
        cdef Tensor t
        cdef double until = seconds() + limit
        cdef list buffers = []
        cdef const Array* r
        for i in range(n):
            sources[i] = &(<Tensor?>data[i]).array
            shape = (batch,) + data[i].shape[1:]
            if tables[i] is None:
                scales[i] = NULL
                t = tensor_from_array(np.empty(shape, np.int64 if data[i].dtype.kind in "iu" else data[i].dtype), False)
            else:
                scales[i] = (<Tensor?>tables[i]).array.data
                t = tensor_from_array(np.empty(shape, tables[i].dtype), False)
            buffers.append(t)
            pointers[i] = &t.array
        for j in range(count):
            numbers[j] = self.sources[j]
        for f in self.before:
            f()
        try:
            with nogil:
                while k < last:
                    for i in range(n):
                        take_rows(deref(sources[i]), &order[k * batch], batch, scales[i], deref(pointers[i]))
                    self.program.run(pointers)
                    for j in range(count):
                        r = &self.program.result(numbers[j])
                        values[k, j] = (<double*>r.data)[0] if r.dtype == DType.Float64 else (<float*>r.data)[0]
                    k += 1
                    if seconds() > until:
                        break
        finally:
            self.program.copy_results(results)
            for t, number in self.gradients:
                t.grad_ = None if number < 0 else wrap(results[<int>number])
            self.reached = k
        return k

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
        take_rows(data.array, &rows[0], rows.shape[0], scale, out.array)
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
    """While a step is captured, a value that it computes may not be looked at: a replay would not look again."""
    cdef Capture capture = current_capture()
    if capture is not None and capture.program.is_computed(t.array):
        raise CaptureError(
            f"{user_line()}: the step reads a value that it computes (float(), item(), numpy(), print, or a branch on a tensor; "
            f"the tensor has shape {shape_of(t)}). A replay would not see the new value. Return the tensor from the step and "
            "read it outside, use where() in place of a branch, or leave this step uncompiled")
    return 0
