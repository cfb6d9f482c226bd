"""The README's examples run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from pathlib import Path, PurePosixPath
from typing import Any

README = Path(__file__).parent.parent / "README.md"


async def run(example: str, names: dict[str, Any]) -> None:
    """Runs an example, which may use a top-level await."""
    code = compile(example, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    result = eval(code, names)  # noqa: S307, our own text
    if inspect.isawaitable(result):
        await result


def test_examples() -> None:
    """Each block continues where the previous one ended, in one program."""
    examples = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names: dict[str, Any] = {}

    async def program() -> None:
        for example in examples:
            await run(example, names)
        await names["rename"](PurePosixPath("/a"), PurePosixPath("/b"))
        await names["copy"](PurePosixPath("/a"), PurePosixPath("/b"))

    asyncio.run(program())
    assert len(examples) == 2
    assert not names["lock"].locked()
