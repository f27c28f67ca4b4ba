"""What pyproject.toml cannot say: the extension, which depends on the Python that builds it."""

from __future__ import annotations

from sysconfig import get_config_var

from setuptools import Extension, setup

if get_config_var("Py_GIL_DISABLED"):
    setup()  # free-threaded builds of CPython have no stable ABI, and setuptools refuses to build for it there
else:
    speedups = Extension(
        "trio_ws._wire._speedups",
        ["trio_ws/_wire/_speedups.c"],
        optional=True,  # without a compiler the same is done in Python
        py_limited_api=True,
    )
    # One wheel for this and all later versions of CPython.
    setup(ext_modules=[speedups], options={"bdist_wheel": {"py_limited_api": "cp311"}})
