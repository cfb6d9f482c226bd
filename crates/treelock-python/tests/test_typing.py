"""Types and documentation match the code: mypy, stubtest, doctest, one text in two places.

The installed package is tested, from a directory where nothing else can be found.
"""

from __future__ import annotations

import ast
import asyncio
import doctest
import importlib
import importlib.util
import inspect
import os
import runpy
import subprocess
import sys
import types
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import pytest
import treelock
from treelock import TreeLock, TreeLockContextManager, _treelock

MYPY_SECONDS = 600  # mypy reads all of the standard library at its first run
HERE = Path(__file__).parent
PACKAGE = Path(treelock.__file__).parent
STUB = PACKAGE / "_treelock.pyi"

needs_mypy = pytest.mark.skipif(
    importlib.util.find_spec("mypy") is None, reason="mypy is not installed"
)

# Where `.pyi` files differ from the run time, each with its reason.
STUBTEST_ALLOWS = r"""
# A protocol, for type checkers only.
treelock\._treelock\.Node
# PyO3 adds it; no one imports * from a private module.
treelock\._treelock\.__all__
# Subclasses may take their own arguments, so the native methods accept any.
treelock(\._treelock)?\.TreeLock\.__(init|new)__
# PEP 800 and @final belong to later versions of Python.
treelock(\._treelock)?\.TreeLock(ContextManager)?
# mypy makes a union of a literal with two values, and Python does not.
treelock\._values\.(Access|State)
"""


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Returns a directory without sources, where mypy also keeps its cache for the next test."""
    return tmp_path_factory.mktemp("elsewhere")


def run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python program in a directory."""
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=directory,
        capture_output=True,
        text=True,
        timeout=MYPY_SECONDS,
        env={name: value for name, value in os.environ.items() if name != "MYPYPATH"},
    )


# Types


@needs_mypy
@pytest.mark.parametrize("name", ["ok.py", "bad.py"])
def test_mypy(elsewhere: Path, name: str) -> None:
    """Correct use has no errors, and each misuse has the error that is ignored there."""
    options = ["--strict", "--config-file=", f"--cache-dir={elsewhere / 'cache'}"]
    result = run(elsewhere, "mypy", *options, str(HERE / "typing" / name))
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.startswith("Success: no issues found")


@needs_mypy
def test_mypy_sees_types(elsewhere: Path) -> None:
    """A test of the tests: if everything were ``Any``, nothing would be an error."""
    source = elsewhere / "reveal.py"
    source.write_text("import treelock\nreveal_type(treelock.TreeLock().snapshot().entries)\n")
    options = ["--config-file=", f"--cache-dir={elsewhere / 'cache'}"]
    result = run(elsewhere, "mypy", *options, str(source))
    assert "treelock._values.Entry" in result.stdout, result.stdout + result.stderr


@needs_mypy
def test_stubtest(elsewhere: Path) -> None:
    """Everything in the stubs exists at run time, with the same parameters."""
    allowlist = elsewhere / "allowlist"
    allowlist.write_text(STUBTEST_ALLOWS)
    options = ["--allowlist", str(allowlist), "--ignore-unused-allowlist"]
    result = run(elsewhere, "mypy.stubtest", *options, "treelock")
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_examples_run() -> None:
    """The code that mypy accepts also runs correctly."""
    runpy.run_path(str(HERE / "typing" / "ok.py"))["main"]()


def test_the_package_is_typed() -> None:
    """Without the marker, type checkers ignore the package."""
    assert (PACKAGE / "py.typed").exists()
    assert STUB.exists()


def test_users_see_one_module() -> None:
    """Classes name the package and not its parts, and everything public is listed."""
    for name in treelock.__all__:
        value = getattr(treelock, name)
        if isinstance(value, type):
            assert value.__module__ == "treelock", name
    public = {name for name in vars(treelock) if not name.startswith("_")}
    modules = {name for name in public if isinstance(getattr(treelock, name), types.ModuleType)}
    assert public - modules == {name for name in treelock.__all__ if not name.startswith("_")}


# Documentation


class Documented(NamedTuple):
    """A docstring in a file."""

    file: str
    name: str
    line: int
    text: str


def docstrings(file: Path) -> Iterator[Documented]:
    """Returns all docstrings of a source or a stub, with their dotted names."""
    yield from _docstrings(file.name, ast.parse(file.read_text("utf-8")), "")


def _docstrings(file: str, parent: Any, name: str) -> Iterator[Documented]:
    text = ast.get_docstring(parent, clean=True)
    if text is not None:
        yield Documented(file, name, parent.body[0].lineno - 1, text)
    for child in parent.body:
        if isinstance(child, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _docstrings(file, child, f"{name}.{child.name}".lstrip("."))


FILES = sorted(file for file in PACKAGE.iterdir() if file.suffix in (".py", ".pyi"))
EXAMPLES = [doc for file in FILES for doc in docstrings(file) if ">>>" in doc.text]


@pytest.mark.parametrize("doc", EXAMPLES, ids=lambda doc: f"{doc.file}:{doc.name}")
def test_examples_in_docstrings(doc: Documented) -> None:
    """The examples print what they say."""
    names = {"TreeLock": TreeLock, "PurePosixPath": PurePosixPath, "asyncio": asyncio}
    test = doctest.DocTestParser().get_doctest(doc.text, names, doc.name, doc.file, doc.line)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    results = runner.run(test, out=report.append)
    assert results.attempted > 0
    assert results.failed == 0, "".join(report)


def test_there_are_examples() -> None:
    """A test of the tests: the examples were found."""
    assert {"TreeLock", "TreeLock.snapshot", "LockTimeout"} <= {doc.name for doc in EXAMPLES}


def native(name: str) -> Any:
    """Returns the object with a dotted name in the native module."""
    value: Any = _treelock
    for part in name.split("."):
        value = inspect.getattr_static(value, part)
    return value


def is_slot(name: str) -> bool:
    """Returns whether CPython supplies the documentation, as it does for a native ``__call__``."""
    return isinstance(native(name), types.WrapperDescriptorType)


NATIVE = [
    doc
    for doc in docstrings(STUB)
    if doc.name and doc.name.split(".")[0] != "Node" and not is_slot(doc.name)
]


@pytest.mark.parametrize("doc", NATIVE, ids=lambda doc: doc.name)
def test_help_says_what_the_stub_says(doc: Documented) -> None:
    """Editors read the stub, and ``help()`` the native class: one text, which cannot drift."""
    text = native(doc.name).__doc__
    assert text is not None
    assert inspect.cleandoc(text) == doc.text


def test_everything_native_is_in_the_stub() -> None:
    """And it has a docstring there, if it is public."""
    known = {doc.name for doc in docstrings(STUB)}
    for name in ("TreeLock", "TreeLockContextManager"):
        public = {part for part in vars(getattr(_treelock, name)) if not part.startswith("_")}
        assert {name} | {f"{name}.{part}" for part in public} <= known


def test_everything_in_python_has_a_docstring() -> None:
    """The values have one too, down to their properties."""
    for name in treelock.__all__:
        value = getattr(treelock, name)
        if isinstance(value, type):
            assert inspect.getdoc(value), name
    for value in (treelock.Snapshot, treelock.LockTimeout):
        for name, member in vars(value).items():
            if isinstance(member, property):
                assert inspect.getdoc(member), name


def test_the_parameters_can_be_asked_for() -> None:
    """They are available to ``help()`` and to editors that inspect the running program."""
    acquire = inspect.signature(treelock.TreeLockContextManager.acquire)
    assert list(acquire.parameters) == ["self", "blocking", "timeout"]
    assert acquire.parameters["blocking"].default is True
    assert acquire.parameters["timeout"].default == -1


def test_the_version() -> None:
    """The package and its metadata have the same version."""
    metadata = importlib.import_module("importlib.metadata")
    try:
        expected = metadata.version("treelock-rs")
    except metadata.PackageNotFoundError:
        pytest.skip("the package is not installed")
    assert treelock.__version__ == expected


# ------------------------------------------------------------------------- what tools ask for


def test_signatures() -> None:
    """Editors and ``help()`` show the parameters."""
    assert str(inspect.signature(TreeLock)) == "(*, strings=False)"
    for method in (TreeLockContextManager.__aexit__, TreeLockContextManager.__exit__):
        parameters = list(inspect.signature(method).parameters)
        assert parameters == ["self", "exc_type", "exc_value", "traceback"]


def test_the_protocol_of_nodes_is_there_at_run_time() -> None:
    """It is for annotations, which a running program may inspect."""
    node: Any = importlib.import_module("treelock").Node
    assert getattr(node, "_is_protocol", False)
    assert "parents" in vars(node)

    class Mine(node):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            self.name = name

        @property
        def parents(self) -> tuple[Any, ...]:
            return ()

    assert Mine("a").parents == ()
