# The tensor type: an Array, and where it stands on the tape. Included by engine.pyx.

NUMPY_TYPES = tuple([np.dtype(n) for n in ("bool", "uint8", "int8", "int16", "int32", "int64", "float32", "float64")])
cdef dict DTYPE_CODES = {d: i for i, d in enumerate(NUMPY_TYPES)}
cdef tuple NO_ARGS = ()
cdef object tensor_class = None     # pyneural.tensor.Tensor: the Python subclass that users see


def set_tensor_class(cls):
    """Tells the engine which subclass of its tensor type results have; ``pyneural.tensor`` does so once."""
    global tensor_class
    tensor_class = cls


def dtype_code(dtype):
    """The C++ code of a NumPy dtype (or what ``np.dtype`` makes one of).

    Raises:
        TypeError: Tensors cannot have this dtype.
    """
    d = np.dtype(dtype)
    code = DTYPE_CODES.get(d)
    if code is None:
        raise TypeError(f"dtype {d} is not supported; use one of {', '.join(str(x) for x in NUMPY_TYPES)}")
    return code


@cython.trashcan(True)
cdef class Tensor:
    cdef Array array
    cdef Node node
    cdef int output_index
    cdef bint requires_grad_
    cdef object grad_

    # ---- what it is ----
    @property
    def shape(self):
        """Sizes of the dimensions, a tuple."""
        return tuple([self.array.shape[d] for d in range(self.array.ndim)])

    @property
    def strides(self):
        """Steps between neighbours along each dimension, in elements (PyTorch's unit, not NumPy's bytes)."""
        return tuple([self.array.strides[d] for d in range(self.array.ndim)])

    @property
    def ndim(self):
        """Number of dimensions."""
        return self.array.ndim

    @property
    def dtype(self):
        """NumPy's dtype of the elements."""
        return NUMPY_TYPES[<int>self.array.dtype]

    def numel(self):
        """Number of elements."""
        return self.array.size()

    def is_contiguous(self):
        """True if the elements lie in row-major order without gaps."""
        return self.array.contiguous()

    @property
    def _dtype_code(self):
        return <int>self.array.dtype

    @property
    def _version(self):
        """Counts writes in place to the memory behind the tensor."""
        return self.array.storage.version

    def _shares_with(self, list others):
        """(position, distance in bytes) of the first of the others on the same memory, or None."""
        cdef Tensor t
        for i in range(len(others)):
            t = <Tensor?>others[i]
            if t.array.storage == self.array.storage:
                return i, <Py_ssize_t>(self.array.data - t.array.data)
        return None

    def __len__(self):
        if self.array.ndim == 0:
            raise TypeError("len() of a 0-d tensor")
        return self.array.shape[0]

    # ---- gradients ----
    @property
    def requires_grad(self):
        """True if a gradient with respect to this tensor may be asked for."""
        return self.requires_grad_

    @requires_grad.setter
    def requires_grad(self, bint on):
        if on and not is_float(self.array.dtype):
            raise TypeError(f"requires_grad: only float tensors have gradients, this one is {self.dtype}; convert it first")
        if not on and self.node is not None:
            raise RuntimeError("requires_grad: a result of other tensors cannot be taken off the tape; use detach()")
        self.requires_grad_ = on

    @property
    def is_leaf(self):
        """True if the tensor was not made by a recorded op: backward() leaves its gradient in ``.grad``."""
        return self.node is None

    @property
    def grad_fn(self):
        """The recorded call that made this tensor, or None for a leaf."""
        return self.node

    @property
    def output_nr(self):
        """Which output of ``grad_fn`` this is."""
        return self.output_index

    @property
    def grad(self):
        """The gradient that backward() has summed up, or None."""
        if get_capture() is not NULL:
            current_capture().touch(self, True)
        return self.grad_

    @grad.setter
    def grad(self, value):
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"grad: must be a Tensor or None, not {type(value).__name__}")
            if not (<Tensor>value).array.same_shape(self.array):
                raise ValueError(f"grad: shape {shape_of(<Tensor>value)} differs from the tensor's {shape_of(self)}")
        if get_capture() is not NULL:
            current_capture().touch(self, False)
        self.grad_ = value

    def detach(self):
        """The same memory, off the tape."""
        return wrap(self.array)

    def _share(self, Tensor other):
        """Makes this tensor, a leaf, a window on the memory of another one; it stays the same object."""
        if self.node is not None:
            raise RuntimeError("the result of an op cannot be given other memory")
        self.array = other.array

    # ---- NumPy ----
    def __array__(self, dtype=None, copy=None):
        a = numpy_view(self)
        if dtype is not None and np.dtype(dtype) != a.dtype:
            if copy is False:
                raise ValueError(f"a {a.dtype} tensor cannot be seen as {np.dtype(dtype)} without a copy")
            return a.astype(dtype)
        return a.copy() if copy else a

    def numpy(self):
        """The elements as a NumPy array on the same memory (read-only where the memory is)."""
        return numpy_view(self)

    def item(self):
        """The only element as a Python number.

        Raises:
            ValueError: The tensor has more or fewer than one element.
        """
        if self.array.size() != 1:
            raise ValueError(f"item: the tensor has {self.array.size()} elements (shape {shape_of(self)}), not one; use tolist()")
        return numpy_view(self).item()

    # ---- operators: here and not in Python, because they are what a training step consists of ----
    def __add__(self, other):
        return call2(ADD, self, other)
    def __radd__(self, other):
        return call2(ADD, other, self)
    def __sub__(self, other):
        return call2(SUB, self, other)
    def __rsub__(self, other):
        return call2(SUB, other, self)
    def __mul__(self, other):
        return call2(MUL, self, other)
    def __rmul__(self, other):
        return call2(MUL, other, self)
    def __truediv__(self, other):
        return call2(DIV, self, other)
    def __rtruediv__(self, other):
        return call2(DIV, other, self)
    def __floordiv__(self, other):
        return call2(FLOOR_DIVIDE, self, other)
    def __rfloordiv__(self, other):
        return call2(FLOOR_DIVIDE, other, self)
    def __mod__(self, other):
        return call2(REMAINDER, self, other)
    def __rmod__(self, other):
        return call2(REMAINDER, other, self)
    def __pow__(self, other, modulus):
        if modulus is not None:
            raise TypeError("pow: a third argument is not supported")
        # The common exponents have ops of their own: exact or correctly rounded, with short gradient rules.
        if isinstance(other, (int, float)):
            if other == 2:
                return call_op(SQUARE, (self,))
            if other == 0.5:
                return call_op(SQRT, (self,))
            if other == -1 and is_float(self.array.dtype):
                return call_op(RECIPROCAL, (self,))
            if other < 0 and isinstance(other, int) and not is_float(self.array.dtype):
                raise ValueError(f"pow: {self.dtype} to the power {other} is no integer; convert it first (x.float())")
        return call2(POW, self, other)
    def __rpow__(self, other, modulus):
        return call2(POW, other, self)
    def __matmul__(self, other):
        if isinstance(other, Tensor) and self.array.ndim >= 2 and (<Tensor>other).array.ndim >= 2:
            return MATMUL(self, other)
        return _matmul_vectors(self, other)
    def __rmatmul__(self, other):
        return _matmul_vectors(other, self)
    def __neg__(self):
        return call_op(NEG, (self,))
    def __pos__(self):
        return self
    def __abs__(self):
        return call_op(ABS, (self,))
    def __eq__(self, other):
        # As in PyTorch and NumPy, a tensor is not equal to None or a text: Python answers by identity.
        if other is None or isinstance(other, str):
            return NotImplemented
        return call2(EQ, self, other)
    def __ne__(self, other):
        if other is None or isinstance(other, str):
            return NotImplemented
        return call2(NE, self, other)
    def __lt__(self, other):
        return call2(LT, self, other)
    def __le__(self, other):
        return call2(LE, self, other)
    def __gt__(self, other):
        return call2(GT, self, other)
    def __ge__(self, other):
        return call2(GE, self, other)
    def __and__(self, other):
        return call2(AND, masks_only("&", self), masks_only("&", other))
    def __rand__(self, other):
        return call2(AND, masks_only("&", other), masks_only("&", self))
    def __or__(self, other):
        return call2(OR, masks_only("|", self), masks_only("|", other))
    def __ror__(self, other):
        return call2(OR, masks_only("|", other), masks_only("|", self))
    def __xor__(self, other):
        return call2(XOR, masks_only("^", self), masks_only("^", other))
    def __rxor__(self, other):
        return call2(XOR, masks_only("^", other), masks_only("^", self))
    def __invert__(self):
        return call_op(NOT, (masks_only("~", self),))
    def __hash__(self):
        return <Py_hash_t>(<size_t><PyObject*>self >> 4)

    def __bool__(self):
        if self.array.size() != 1:
            raise ValueError(f"the truth of a tensor of shape {shape_of(self)} is ambiguous; use .any() or .all()")
        return bool(numpy_view(self).item())
    def __int__(self):
        return int(self.item())
    def __float__(self):
        return float(self.item())
    def __index__(self):
        if is_float(self.array.dtype):
            raise TypeError(f"only an integer tensor can be an index, this one is {self.dtype}")
        return int(self.item())

    # ---- writes in place ----
    def _write(self, value):
        """Writes value (broadcast, converted) into the tensor's memory, off the tape.

        Raises:
            RuntimeError: The tensor requires a gradient and recording is on.
            ValueError: The shapes do not fit, or the memory is read-only.
        """
        cdef Tensor source
        cdef int dims
        cdef int64_t merged[8]
        if get_grad_enabled() and self.requires_grad_:
            raise RuntimeError("a tensor that requires a gradient cannot be changed in place while the tape records; "
                               "wrap the change in `with pyneural.no_grad():`")
        if not self.array.storage.writable:
            raise ValueError(f"the tensor of shape {shape_of(self)} lies on read-only memory; change a copy of it (clone())")
        if isinstance(value, Tensor):
            source = <Tensor>value
            if get_grad_enabled() and source.requires_grad_:
                raise RuntimeError("writing a tensor that requires a gradient into another is not recorded; write "
                                   "value.detach(), or build the result with where() or concatenate()")
        else:
            source = as_tensor(value, "copy_")
        if not broadcast_shapes(self.array.ndim, self.array.shape, source.array.ndim, source.array.shape, &dims, merged) \
                or dims != self.array.ndim or shape_of(self) != tuple([merged[d] for d in range(dims)]):
            raise ValueError(f"copy_: a value of shape {shape_of(source)} does not fit into shape {shape_of(self)}")
        before = get_grad_enabled()
        set_grad_enabled(False)
        try:
            call2(ASSIGN, self, source)
        finally:
            set_grad_enabled(before)
        return self


cdef Tensor masks_only(str sign, value):
    """value as a bool tensor: `&` on integers would mean their bits, which is not what the logical ops compute."""
    cdef Tensor t = as_tensor(value, sign)
    if t.array.dtype != DType.Bool:
        raise TypeError(f"{sign}: works on bool tensors, got {t.dtype}; for truth values use logical_and, logical_or, "
                        "logical_xor or logical_not")
    return t


cdef Tensor wrap(const Array& a):
    cdef Tensor t = <Tensor>new_object(tensor_class, NO_ARGS)
    t.array = a
    return t


cdef object numpy_view(Tensor t):
    refuse_reading(t)
    cdef cnp.npy_intp shape[8]
    cdef cnp.npy_intp strides[8]
    cdef int d
    cdef cnp.npy_intp item = item_size(t.array.dtype)
    cdef int flags = cnp.NPY_ARRAY_WRITEABLE if t.array.storage.writable else 0
    for d in range(t.array.ndim):
        shape[d] = t.array.shape[d]
        strides[d] = t.array.strides[d] * item
    cdef cnp.dtype descr = NUMPY_TYPES[<int>t.array.dtype]
    Py_INCREF(descr)
    a = PyArray_NewFromDescr(<PyTypeObject*>cnp.ndarray, descr, t.array.ndim, shape, strides, t.array.data, flags, NULL)
    # The view keeps the memory alive, not the tape: its base is a tensor of its own.
    cnp.set_array_base(a, wrap(t.array))
    return a


def tensor_from_array(a, bint copy):
    """A tensor on the memory of a NumPy array, or on a copy of it.

    Raises:
        TypeError: Not an array, or of a dtype or layout that tensors cannot have.
    """
    if not isinstance(a, np.ndarray):
        raise TypeError(f"from_numpy: expected a NumPy array, got {type(a).__name__}")
    code = DTYPE_CODES.get(a.dtype)
    if code is None:
        raise TypeError(f"from_numpy: dtype {a.dtype} is not supported; convert it with .astype to one of "
                        f"{', '.join(str(x) for x in NUMPY_TYPES)} (in the machine's byte order)")
    if a.ndim > kMaxDims:
        raise ValueError(f"from_numpy: the array has {a.ndim} dimensions, a tensor at most {kMaxDims}")
    cdef Array view
    cdef Py_ssize_t item = a.itemsize, address = a.ctypes.data if not isinstance(a, cnp.ndarray) else <Py_ssize_t>cnp.PyArray_DATA(a)
    cdef int64_t shape[8]
    cdef int d
    for d in range(a.ndim):
        shape[d] = a.shape[d]
        if a.strides[d] % item:
            raise TypeError(f"from_numpy: strides {a.strides} are not multiples of the item size {item}; pass a copy")
    if address % item:
        raise TypeError(f"from_numpy: the array is not aligned to its item size {item}; pass a copy")
    view.describe(<DType><int>code, a.ndim, shape)
    for d in range(a.ndim):
        view.strides[d] = a.strides[d] // item
    view.storage = borrow_object(<void*>address, a.nbytes, a.flags.writeable, <PyObject*>a)
    view.data = <char*>address
    if copy:
        view = contiguous_copy(view)
    if get_capture() is not NULL:
        made_inside(view)
    return wrap(view)


cdef int made_inside(const Array& a) except -1:
    current_capture().program.add_inside(a)
    return 0


cpdef Tensor as_tensor(value, str where="as_tensor"):
    """value as a tensor: itself, on the memory of a NumPy array, or a new one from numbers and nested sequences.

    Python floats become float32, Python integers int64, as in PyTorch.

    Raises:
        TypeError: value holds something other than numbers.
    """
    cdef Array a
    cdef bint real
    if isinstance(value, Tensor):
        return <Tensor>value
    if type(value) is float:
        a.describe(DType.Float64, 0, NULL)
        a.allocate()
        (<double*>a.data)[0] = value
        if get_capture() is not NULL:
            made_inside(a)
        return wrap(a)
    if type(value) is int and -0x8000000000000000 <= value <= 0x7fffffffffffffff:
        a.describe(DType.Int64, 0, NULL)
        a.allocate()
        (<int64_t*>a.data)[0] = value
        if get_capture() is not NULL:
            made_inside(a)
        return wrap(a)
    if isinstance(value, np.ndarray):
        return tensor_from_array(value, False)
    if isinstance(value, (list, tuple)) and any([isinstance(x, Tensor) for x in value]):
        value = [np.asarray(x) for x in value]
    elif hasattr(value, "__array__") and not isinstance(value, np.generic):
        return tensor_from_array(np.asarray(value), False)
    try:
        array = np.array(value)
    except ValueError as error:
        raise TypeError(f"{where}: cannot make a tensor of {type(value).__name__}: {error}") from None
    if array.dtype == object or array.dtype.kind not in "biuf":
        raise TypeError(f"{where}: cannot make a tensor of {type(value).__name__} {str(value)[:60]!r}; "
                        "numbers, arrays and nested sequences of them are understood")
    if isinstance(value, (list, tuple)) and array.dtype == np.float64 and not holds_float64(value):
        array = array.astype(np.float32)
    return tensor_from_array(array, False)


cdef bint holds_float64(value):
    """Does a nested sequence hold NumPy float64 values (which keep their type) rather than Python floats?"""
    if isinstance(value, (list, tuple)):
        return any([holds_float64(x) for x in value])
    return isinstance(value, (np.float64, np.ndarray)) and value.dtype == np.float64
