/* The arithmetic of frames (RFC 6455 section 5): the twins in C of `mask_in_python` and `split_in_python` in frames.py,
   which say what they do. Same results, same errors.

   Only the stable ABI of CPython 3.11 is used, so one build serves every later version, too. There is no state and no
   static object, so subinterpreters may import this, too; only to those with a GIL of their own the ABI of 3.11 cannot
   say so, and there frames.py stays in Python. The GIL is kept: what is read may be a bytearray, and a mebibyte takes
   less time than getting the GIL back may take. */

#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#include <stdint.h>
#include <string.h>

enum { KEY_SIZE = 4, TEXT = 0x81, BINARY = 0x82, MASK_BIT = 0x80 };

/* Texts up to this size are unmasked on the stack. */
enum { SMALL = 1024 };

/* A whole frame of a whole message. */
typedef struct {
    int text;
    const unsigned char *key;
    const unsigned char *payload;
    Py_ssize_t size;
    const unsigned char *end;
} Frame;

/* XOR with the key, over and over (section 5.3). By memcpy a word may be read at any address, and compilers make
   vector instructions of this loop. */
static void
xor_with_key(unsigned char *out, const unsigned char *in, Py_ssize_t size, const unsigned char *key)
{
    uint64_t word, keys;
    memcpy(&keys, key, KEY_SIZE);
    memcpy((unsigned char *)&keys + KEY_SIZE, key, KEY_SIZE);
    Py_ssize_t i = 0;
    for (; size - i >= 8; i += 8) {
        memcpy(&word, in + i, 8);
        word ^= keys;
        memcpy(out + i, &word, 8);
    }
    for (; i < size; i++) {
        out[i] = in[i] ^ key[i % KEY_SIZE];
    }
}

static PyObject *
masked_bytes(const unsigned char *in, Py_ssize_t size, const unsigned char *key)
{
    PyObject *masked = PyBytes_FromStringAndSize(NULL, size);
    if (masked != NULL) {
        xor_with_key((unsigned char *)PyBytes_AsString(masked), in, size, key);
    }
    return masked;
}

/* An int that does not fit becomes the nearest that does. */
static int
as_long_long(PyObject *number, long long *value)
{
    int overflow;
    *value = PyLong_AsLongLongAndOverflow(number, &overflow);
    if (overflow) {
        *value = overflow > 0 ? LLONG_MAX : LLONG_MIN;
    }
    return !(*value == -1 && PyErr_Occurred());
}

static PyObject *
mask(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    char *key;
    Py_ssize_t key_size;
    if (nargs < 2 || nargs > 3) {
        return PyErr_Format(PyExc_TypeError, "mask() takes 2 or 3 positional arguments, not %zd", nargs);
    }
    if (PyBytes_AsStringAndSize(args[1], &key, &key_size) < 0) {
        return NULL;
    }
    if (key_size != KEY_SIZE) {
        return PyErr_Format(PyExc_ValueError, "a masking key has 4 bytes, not %zd", key_size);
    }
    /* Modulo a power of two, which is all that matters; so an offset may be negative and of any size. */
    unsigned long offset = nargs > 2 ? PyLong_AsUnsignedLongMask(args[2]) : 0;
    if (offset == (unsigned long)-1 && PyErr_Occurred()) {
        return NULL;
    }
    unsigned char rotated[KEY_SIZE];
    for (unsigned long i = 0; i < KEY_SIZE; i++) {
        rotated[i] = (unsigned char)key[(offset + i) % KEY_SIZE];
    }
    Py_buffer data;
    if (PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *masked = masked_bytes(data.buf, data.len, rotated);
    PyBuffer_Release(&data);
    return masked;
}

static uint64_t
big_endian(const unsigned char *bytes, int count)
{
    uint64_t number = 0;
    for (int i = 0; i < count; i++) {
        number = number << 8 | bytes[i];
    }
    return number;
}

/* Whether a frame stands here that `split` takes. */
static int
read_frame(const unsigned char *at, Py_ssize_t available, int masked, long long max_size, Frame *frame)
{
    if (available < 2 || (at[0] != TEXT && at[0] != BINARY) || (at[1] & MASK_BIT) != (masked ? MASK_BIT : 0)) {
        return 0;
    }
    uint64_t size = at[1] & 0x7Fu;
    int length_size = size < 126 ? 0 : size == 126 ? 2 : 8;
    int header_size = 2 + length_size + (masked ? KEY_SIZE : 0);
    if (available < header_size) {
        return 0;
    }
    if (length_size) {
        size = big_endian(at + 2, length_size);
        if (size <= (length_size == 2 ? 125 : 0xFFFF)) {
            return 0; /* "the minimal number of bytes MUST be used" (section 5.2) */
        }
    }
    if (max_size < 0 || size > (uint64_t)max_size || size > (uint64_t)(available - header_size)) {
        return 0;
    }
    frame->text = at[0] == TEXT;
    frame->payload = at + header_size;
    frame->key = masked ? frame->payload - KEY_SIZE : NULL;
    frame->size = (Py_ssize_t)size;
    frame->end = frame->payload + frame->size;
    return 1;
}

static PyObject *
read_text(const Frame *frame)
{
    if (frame->key == NULL) {
        return PyUnicode_DecodeUTF8((const char *)frame->payload, frame->size, "strict");
    }
    unsigned char small[SMALL];
    unsigned char *unmasked = frame->size <= SMALL ? small : PyMem_Malloc((size_t)frame->size);
    if (unmasked == NULL) {
        return PyErr_NoMemory();
    }
    xor_with_key(unmasked, frame->payload, frame->size, frame->key);
    PyObject *text = PyUnicode_DecodeUTF8((const char *)unmasked, frame->size, "strict");
    if (unmasked != small) {
        PyMem_Free(unmasked);
    }
    return text;
}

static PyObject *
read_message(const Frame *frame)
{
    if (frame->text) {
        return read_text(frame);
    }
    if (frame->key == NULL) {
        return PyBytes_FromStringAndSize((const char *)frame->payload, frame->size);
    }
    return masked_bytes(frame->payload, frame->size, frame->key);
}

/* Appends the messages that `data` begins with; returns how many bytes they took, or -1 with an exception. */
static Py_ssize_t
take_messages(PyObject *messages, const unsigned char *data, Py_ssize_t size, int masked, long long max_size,
              long long most)
{
    const unsigned char *at = data;
    Frame frame;
    for (; most > 0 && read_frame(at, size - (at - data), masked, max_size, &frame); most--) {
        PyObject *message = read_message(&frame);
        if (message == NULL) {
            if (!PyErr_ExceptionMatches(PyExc_UnicodeDecodeError)) {
                return -1;
            }
            PyErr_Clear();
            break;
        }
        int failed = PyList_Append(messages, message);
        Py_DECREF(message);
        if (failed) {
            return -1;
        }
        at = frame.end;
    }
    return at - data;
}

static PyObject *
split(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 5) {
        return PyErr_Format(PyExc_TypeError, "split() takes 5 positional arguments, not %zd", nargs);
    }
    long long start, max_size, most;
    if (!as_long_long(args[1], &start) || !as_long_long(args[3], &max_size) || !as_long_long(args[4], &most)) {
        return NULL;
    }
    if (start < 0) {
        return PyErr_Format(PyExc_ValueError, "a frame cannot begin at %S", args[1]);
    }
    int masked = PyObject_IsTrue(args[2]);
    Py_buffer data;
    if (masked < 0 || PyObject_GetBuffer(args[0], &data, PyBUF_SIMPLE) < 0) {
        return NULL;
    }
    PyObject *messages = PyList_New(0);
    Py_ssize_t taken = messages == NULL ? -1 : 0;
    if (messages != NULL && start < data.len) {
        taken = take_messages(messages, (const unsigned char *)data.buf + start, data.len - (Py_ssize_t)start, masked,
                              max_size, most);
    }
    PyBuffer_Release(&data);
    PyObject *stop = taken < 0 ? NULL : taken == 0 ? Py_NewRef(args[1]) : PyLong_FromLongLong(start + taken);
    PyObject *result = stop == NULL ? NULL : PyTuple_Pack(2, messages, stop);
    Py_XDECREF(messages);
    Py_XDECREF(stop);
    return result;
}

static PyMethodDef methods[] = {
    {"mask", (PyCFunction)(void (*)(void))mask, METH_FASTCALL, "mask(data, key, offset=0, /)\n--\n\n"},
    {"split", (PyCFunction)(void (*)(void))split, METH_FASTCALL,
     "split(data, start, masked, max_size, most, /)\n--\n\n"},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};

static struct PyModuleDef definition = {
    .m_base = PyModuleDef_HEAD_INIT,
    .m_name = "_speedups",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC
PyInit__speedups(void)
{
    return PyModuleDef_Init(&definition);
}
