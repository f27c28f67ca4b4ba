"""What the README shows is what a test has run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import trio_ws
from examples import echo_client, echo_server

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_readme_shows_python() -> None:
    assert SNIPPETS


@pytest.mark.parametrize("snippet", SNIPPETS, ids=range(len(SNIPPETS)))
def test_every_python_snippet_stands_verbatim_in_an_example(snippet: str) -> None:
    examples = [example.read_text() for example in (ROOT / "examples").glob("*.py")]
    assert any(snippet in example for example in examples)


def test_every_relative_link_leads_to_a_file() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)", README) if "://" not in link]
    assert links
    assert [link for link in links if not (ROOT / link).exists()] == []


async def test_echo_client_gets_its_hello_back_from_echo_server(capsys: pytest.CaptureFixture[str]) -> None:
    async with trio_ws.open_websocket_server(echo_server.echo, "127.0.0.1", 0) as server:
        await echo_client.main(f"ws://127.0.0.1:{server.port}/")
    assert capsys.readouterr().out == "hello\n"
