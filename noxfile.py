"""The project's chores. `nox -l` lists them, `nox -s lint` runs one; CONTRIBUTING.md says when."""

from __future__ import annotations

import subprocess
from pathlib import Path

import nox
from nox.command import CommandFailed

nox.options.sessions = ["lint", "typing", "tests", "docs"]
# A Python that is not installed is no failure of this project: nox says that it skips the session.
nox.options.error_on_missing_interpreters = False

PYTHONS = nox.project.python_versions(nox.project.load_toml("pyproject.toml"))


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest. With TRIO_WS_PURE_PYTHON=1 in the environment, without the C extension."""
    session.install("-e", ".[test]")  # tests import from here, so the extension has to be here
    session.run("python", "-m", "pytest", *session.posargs)


@nox.session
def interop(session: nox.Session) -> None:
    """Run only the tests against other implementations."""
    session.install("-e", ".[test]")
    session.run("python", "-m", "pytest", "tests/interop", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session
def typing(session: nox.Session) -> None:
    """Check the types: inside the package, of the public API, and as a user of the API sees them."""
    session.install(".[test]", "mypy", "pyright")
    session.run("mypy", "--strict", "trio_ws", "tests/typing_api.py")
    session.run("pyright", "--verifytypes", "trio_ws", "--ignoreexternal")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into docs/_build/html; every warning is an error."""
    session.install(".[docs]")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "html", "docs", "docs/_build/html")


@nox.session
def autobahn(session: nox.Session) -> None:
    """Run the Autobahn test suite against the server and the client (needs Python 2.7).

    `--quick` leaves out most of the cases about compression, which take nearly all of the time; `--write` makes
    what happens the expected result.
    """
    python2 = find_python2()
    if python2 is None:
        session.skip("the Autobahn test suite runs on Python 2.7, which is not installed")
    # Later versions of virtualenv no longer make environments for Python 2.7.
    session.install(".", "virtualenv<20.22")
    suite = session.cache_dir / "autobahntestsuite"
    if not (suite / "bin" / "wstest").exists():
        session.run("virtualenv", "--quiet", f"--python={python2}", str(suite))
        session.run(str(suite / "bin" / "pip"), "install", "--quiet", "autobahntestsuite==0.8.2", external=True)
    reports = Path(session.create_tmp())
    wstest = str(suite / "bin" / "wstest")
    session.run("python", "tests/interop/autobahn_echo.py", wstest, str(reports), *session.posargs)


@nox.session(python="3.11")  # the only one that Atheris has a wheel for
def fuzz(session: nox.Session) -> None:
    """Fuzz every target for some seconds each: `nox -s fuzz -- 600`. A finding is kept and is a failure."""
    session.install("-e", ".[test]")
    try:
        session.install("atheris")
    except CommandFailed:
        session.skip("Atheris, the fuzzing engine, cannot be installed here")
    session.run("python", "tests/fuzz/run.py", "all", *(session.posargs or ["60"]))


@nox.session(python="3.11")  # the one that docs/performance.md is about
def bench(session: nox.Session) -> None:
    """Measure what messages and connections cost, here and in other libraries (Linux, half an hour).

    `--quick` takes two minutes and leaves out most works; `--write` writes docs/performance.md; `--help` has the rest.
    """
    session.install("-e", ".[bench]")  # the programs find the package here: this builds the extension where it is
    session.run("python", "-m", "benchmarks", *session.posargs)


def find_python2() -> Path | None:
    """Where Python 2.7 is, on PATH or in pyenv. A pyenv shim may be there and still not run: try each."""
    pyenv = sorted(Path.home().glob(".pyenv/versions/2.7*/bin/python2.7"))
    for python in [Path("python2.7"), *pyenv]:
        try:
            subprocess.run([python, "-c", ""], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None
