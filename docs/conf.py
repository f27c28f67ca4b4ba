"""How Sphinx builds the documentation. `nox -s docs` runs it."""

from __future__ import annotations

import sys
from importlib.metadata import version as version_of

from sphinx.ext.napoleon import GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

import trio_ws  # noqa: F401  loads the modules that are looked at below

project = "trio_ws"
author = "the trio_ws authors"
project_copyright = "2026, the trio_ws authors"
release = version = version_of("trio_ws")

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinxcontrib_trio",
    "myst_parser",
]
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"trio_ws {version}"
html_static_path = ["_static"]
html_css_files = ["tables.css"]

# sphinxcontrib_trio knows async functions and context managers by way of autodoc's documenter classes,
# which Sphinx 9 no longer uses by default. Without them an async context manager loses its "async with".
autodoc_use_legacy_class_based = True
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# Longer signatures have a line for each parameter.
maximum_signature_line_length = 100

napoleon_google_docstring = True
napoleon_numpy_docstring = False
# The sections of our docstrings that napoleon does not know.
napoleon_custom_sections = ["Cancellation"]

# No intersphinx: the build uses no network. Hence references into other projects have no target here.
nitpicky = True
nitpick_ignore_regex = [
    # The standard library and our dependencies: not in this documentation.
    (r"py:.*", r"(collections|contextlib|enum|functools|http|logging|os|re|signal|socket|ssl|types|typing)\..*"),
    (r"py:.*", r"(attrs?|h11|trio|wsproto)\..*"),
    # Builtins and what type hints are made of.
    (r"py:mod", r"socket"),
    (r"py:.*", r"(AbstractAsyncContextManager|Any|AsyncIterable|AsyncIterator|Awaitable|Callable)"),
    (r"py:.*", r"(Iterable|Iterator|Literal|Mapping|Sequence)"),
    (r"py:.*", r"(None|TypeError|ValueError|OSError|TimeoutError|RuntimeError|KeyboardInterrupt|Exception)"),
    (r"py:class", r"(bool|bytes|bytearray|dict|float|int|list|memoryview|object|set|str|tuple|frozenset)"),
]

# The public classes say that they are of ``trio_ws``, so autodoc looks there for their ``#:`` comments and for the
# order of their members. Show it what the modules say in which they really are.
_public = ModuleAnalyzer.for_module("trio_ws")
_public.analyze()
_modules = [name for name in sys.modules if name.startswith("trio_ws._")]
for _name in [name for name in _modules if name != "trio_ws._wire._speedups"]:  # which is written in C
    _analyzer = ModuleAnalyzer.for_module(_name)
    _analyzer.analyze()
    for _what in ("attr_docs", "annotations", "tagorder"):
        getattr(_public, _what).update(getattr(_analyzer, _what))

# Napoleon takes "Never on the wire: TLS failed." for a type and what it is for. Our comments name no types.
GoogleDocstring._parse_attribute_docstring = GoogleDocstring._consume_to_end
