// What engine.pyx needs beside the library's headers: its errors as Python exceptions, the grad mode, borrowed NumPy
// memory.
#pragma once
#include <Python.h>

#include <chrono>
#include <new>
#include <utility>

#include "core/array.h"
#include "core/cpu.h"
#include "core/threads.h"
#include "ops/op.h"
#include "program/program.h"
#include "program/rows.h"

namespace pn::python {

inline void translate() {
  try {
    throw;
  } catch (const TypeError& e) {
    PyErr_SetString(PyExc_TypeError, e.what());
  } catch (const ValueError& e) {
    PyErr_SetString(PyExc_ValueError, e.what());
  } catch (const IndexError& e) {
    PyErr_SetString(PyExc_IndexError, e.what());
  } catch (const NotFinite& e) {
    PyErr_SetString(PyExc_FloatingPointError, e.what());
  } catch (const std::bad_alloc&) {
    PyErr_SetString(PyExc_MemoryError, "pyneural: out of memory");
  } catch (const std::exception& e) {
    PyErr_SetString(PyExc_RuntimeError, e.what());
  }
}

// Per thread, as in PyTorch: no_grad() in one thread does not stop another from recording.
inline thread_local bool grad_enabled = true;
inline bool get_grad_enabled() { return grad_enabled; }
inline void set_grad_enabled(bool on) { grad_enabled = on; }

// Per thread: products of float32 are done on operands rounded to bfloat16.
inline thread_local bool autocast = false;
inline bool get_autocast() { return autocast; }
inline void set_autocast(bool on) { autocast = on; }

inline double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The Capture (a Python object) that records this thread, or null; and the listener, which is told of every call and
// every walk back (pyneural.explain), or null; and the watcher, which stands between a call and its kernel
// (pyneural.reference), or null. `observed`: one of them is there, so that a call asks once for all.
inline thread_local PyObject* capture = nullptr;
inline thread_local PyObject* listener = nullptr;
inline thread_local PyObject* watcher = nullptr;
inline thread_local bool observed = false;
inline PyObject* get_capture() { return capture; }
inline PyObject* get_listener() { return listener; }
inline bool get_observed() { return observed; }
inline PyObject* get_watcher() { return watcher; }
inline void set_observed() { observed = capture || listener || watcher; }
inline void set_capture(PyObject* c) {
  capture = c;
  set_observed();
}
inline void set_listener(PyObject* l) {
  listener = l;
  set_observed();
}
inline void set_watcher(PyObject* w) {
  watcher = w;
  set_observed();
}

// A NumPy array whose memory a Storage borrows; let go of with the GIL held, and not after the interpreter is gone.
inline void release_object(void* object) {
  if (!Py_IsInitialized()) return;
  const PyGILState_STATE state = PyGILState_Ensure();
  Py_DECREF(static_cast<PyObject*>(object));
  PyGILState_Release(state);
}
inline Storage* borrow_object(void* data, size_t bytes, bool writable, PyObject* owner) {
  Py_INCREF(owner);
  return Storage::borrow(data, bytes, writable, &release_object, owner);
}

// A new object of a subclass of the extension type, without the cost of a Python-level call.
inline PyObject* new_object(PyObject* type, PyObject* empty_tuple) {
  PyTypeObject* t = reinterpret_cast<PyTypeObject*>(type);
  return t->tp_new(t, empty_tuple, nullptr);
}

}  // namespace pn::python
