# The C++ library, as engine.pyx sees it.
from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from libcpp cimport bool as cbool
from libcpp.string cimport string
from libcpp.vector cimport vector

cdef extern from "core.h" namespace "pn::python" nogil:
    void translate()
    bint get_grad_enabled()
    PyObject* get_watcher()
    void set_watcher(PyObject*)
    void set_grad_enabled(bint)

cdef extern from "core.h" namespace "pn" nogil:
    cdef enum class DType:
        Bool, UInt8, Int8, Int16, Int32, Int64, Float32, Float64
    bint is_float(DType)
    DType promote(DType, DType)
    size_t item_size(DType)

    cdef cppclass Storage:
        int64_t version
        cbool writable
        size_t bytes
        void drop()
        void retain()
        int64_t shared()

    cdef cppclass Array:
        Storage* storage
        char* data
        DType dtype
        int ndim
        int64_t shape[8]
        int64_t strides[8]
        Array()
        Array(const Array&)
        void describe(DType, int, const int64_t*) except +translate
        void allocate() except +translate
        int64_t size()
        bint contiguous()
        bint same_shape(const Array&)

    void copy_into(const Array&, const Array&) except +translate
    Array expanded(const Array&, int, const int64_t*)
    Array contiguous_copy(const Array&) except +translate
    bint broadcast_shapes(int, const int64_t*, int, const int64_t*, int*, int64_t*)

    cdef struct Attributes:
        int int_count
        int real_count
        int64_t ints[40]
        double reals[4]

    cdef struct COp "pn::Op":
        const char* name
        int inputs
        int outputs
        unsigned flags
        unsigned writes
        void (*run)(const OpCall&)

    cdef cppclass OpCall:
        const COp* op
        int inputs
        const Array** in_ "in"
        Array out[4]
        Attributes attributes

    void prepare(OpCall&) except +translate
    void execute(OpCall&) except +translate
    const COp* find_op(const string&) except +translate
    vector[const COp*] all_ops() except +translate
    unsigned kBroadcasts, kView, kInPlace, kDraws, kTakesIntegers, kFirstIsCondition, kAnyTypes
    int kMaxDims, kMaxInts, kMaxReals
    int64_t NONE "pn::kNone"

cdef extern from "core.h" namespace "pn" nogil:
    unsigned kDataShaped

    cdef cppclass Passes:
        cbool drop_unread
        cbool fuse
        cbool share_memory
        cbool block

    cdef cppclass CallText:
        string op
        vector[string] inputs
        vector[string] outputs
        double operations
        int64_t bytes

    cdef cppclass StepText:
        string what
        vector[CallText] calls

    cdef cppclass Program:
        Program()
        void add_argument(const Array&) except +translate
        bint adopt(const Array&) except +translate
        void add_inside(const Array&) except +translate
        void record(const OpCall&) except +translate
        bint is_argument(const Array&)
        bint is_inside(const Array&)
        bint is_computed(const Array&)
        bint is_temporary(const Array&)
        bint consumed_in_place(const Array&)
        int add_result(const Array&) except +translate
        void finish(const Passes&) except +translate
        void run(const Array**) except +translate
        void copy_results(Array*) except +translate
        const Array& result(size_t)
        string difference(const Program&) except +translate
        string difference_of_values "difference" (const Array&, const Program&, const Array&) except +translate
        vector[StepText] listing()
        size_t instructions()
        size_t steps()
        size_t result_count()
        int64_t held_bytes()
        int64_t arena_bytes()
        int64_t captured_bytes()

    cdef cppclass RowTaker:
        RowTaker()
        RowTaker(const Array&, const void*, const Array&)
        void take(const int64_t*)

cdef extern from "core.h" namespace "pn::python" nogil:
    double seconds()
    bint get_autocast()
    void set_autocast(bint)

cdef extern from "core.h" namespace "pn::python":
    PyObject* get_capture()
    void set_capture(PyObject*)
    PyObject* get_listener()
    void set_listener(PyObject*)
    bint get_observed()
    Storage* borrow_object(void* data, size_t bytes, bint writable, PyObject* owner)
    object new_object(object type, object empty)
