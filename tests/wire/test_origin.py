"""Which pages may open a WebSocket."""

from __future__ import annotations

import re
from typing import cast

import pytest

from trio_ws._errors import ConnectionRejected
from trio_ws._options import Origins
from trio_ws._values import Request
from trio_ws._wire.origin import check_origin, validate_origins


def request(*origins: str, host: str | None = "example.com") -> Request:
    fields = [("Origin", origin) for origin in origins]
    return Request("GET", "/", fields if host is None else [("Host", host), *fields])


def is_allowed(request: Request, origins: Origins) -> bool:
    try:
        check_origin(request, validate_origins(origins))
    except ConnectionRejected as rejected:
        return {403: False}[rejected.response.status]
    return True


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://example.com", "example.com"),
        ("https://example.com", "example.com"),
        ("HTTPS://EXAMPLE.com", "example.COM"),
        ("http://example.com:80", "example.com"),
        ("https://example.com", "example.com:443"),
        ("http://example.com:8080", "example.com:8080"),
        ("http://127.0.0.1:8765", "127.0.0.1:8765"),
        ("http://[::1]:8765", "[::1]:8765"),
        ("https://[2001:DB8:0:0::1]", "[2001:db8::1]"),
        ("http://xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_page_of_the_same_host_is_allowed(origin: str, host: str) -> None:
    assert is_allowed(request(origin, host=host), "same-host")


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("null", "example.com"),
        ("", "example.com"),
        ("http://", "example.com"),
        ("http://evil-example.com", "example.com"),
        ("http://example.com.evil", "example.com"),
        ("http://evil.example.com", "example.com"),
        ("http://example.com@evil.com", "example.com"),
        ("http://user@example.com", "example.com"),
        ("http://example.com/", "example.com"),
        ("http://example.com/path", "example.com"),
        ("http://example.com?x", "example.com"),
        ("http://example.com#x", "example.com"),
        ("http://example.com http://example.com", "example.com"),
        ("http://example.com, http://example.com", "example.com"),
        ("http://example.com:8080", "example.com"),
        ("http://example.com", "example.com:8080"),
        ("http://example.com:443", "example.com"),
        ("https://example.com", "example.com:80"),
        ("http://example.com:0", "example.com"),
        ("http://example.com", "example.com:0"),
        ("http://example.com:99999", "example.com"),
        ("http://example.com:8_0", "example.com"),
        ("file://example.com", "example.com"),
        ("chrome-extension://example.com", "example.com"),
        ("example.com", "example.com"),
        ("//example.com", "example.com"),
        ("http://ex\xe4mple.com", "ex\xe4mple.com"),
        ("http://\u212aelvin.com", "kelvin.com"),
        ("http://[::1", "[::1]"),
        ("http://[::1%25eth0]", "[::1]"),
        ("http://[::1]x", "[::1]"),
        ("http://example.com", ""),
        ("http://example.com", None),
    ],
)
def test_any_other_page_is_refused(origin: str, host: str | None) -> None:
    assert not is_allowed(request(origin, host=host), "same-host")


def test_request_without_origin_is_allowed_by_default() -> None:
    assert is_allowed(request(), "same-host")


@pytest.mark.parametrize("origins", ["same-host", ["http://example.com", None], [re.compile(".*")]])
def test_several_origins_are_refused(origins: Origins) -> None:
    assert not is_allowed(request("http://example.com", "http://example.com"), origins)


def test_several_hosts_are_no_host() -> None:
    fields = [("Host", "example.com"), ("Host", "example.com"), ("Origin", "http://example.com")]
    assert not is_allowed(Request("GET", "/", fields), "same-host")


@pytest.mark.parametrize("sent", [(), ("null",), ("http://evil.com",), ("a", "b")])
def test_any_allows_everything(sent: tuple[str, ...]) -> None:
    assert is_allowed(request(*sent), "any")


@pytest.mark.parametrize("origin", ["https://example.org", "HTTPS://Example.ORG", "https://a.example.net", "app://x"])
def test_listed_origin_is_allowed(origin: str) -> None:
    origins: Origins = ["https://EXAMPLE.org", re.compile(r"https://[a-z]\.example\.net"), "app://x"]
    assert is_allowed(request(origin), origins)


@pytest.mark.parametrize(
    "origin",
    [
        "null",
        "http://example.org",
        "https://example.org:8443",
        "https://example.org.evil",
        "https://evil-example.org",
        "https://example.org/",
        "https://a.example.net.evil",
        "xhttps://a.example.net",
        "https://\u212a.example",
        "http://example.com",
    ],
)
def test_origin_that_is_not_listed_is_refused(origin: str) -> None:
    origins: Origins = ["https://example.org", re.compile(r"https://[a-z]\.example\.net"), "https://k.example", None]
    assert not is_allowed(request(origin), origins)


def test_none_in_a_list_stands_for_requests_without_origin() -> None:
    assert is_allowed(request(), ["https://example.org", None])
    assert not is_allowed(request(), ["https://example.org"])
    assert not is_allowed(request(), [])


def test_refusal_names_the_origin_in_quotes() -> None:
    with pytest.raises(ConnectionRejected) as caught:
        check_origin(request("http://\xe9\x1b[0m"), "same-host")
    assert caught.value.response.body == b"The Origin 'http://\\xe9\\x1b[0m' is not allowed here.\n"


def test_header_that_is_not_text_is_refused() -> None:
    odd = Request("GET", "/", cast("list[tuple[str, str]]", [("Origin", b"http://example.com")]))
    with pytest.raises(ConnectionRejected) as caught:
        check_origin(odd, "same-host")
    assert caught.value.response.status == 400


@pytest.mark.parametrize("origins", ["same-host", "any"])
def test_named_settings_stay_as_they_are(origins: Origins) -> None:
    assert validate_origins(origins) == origins


def test_sequence_becomes_a_tuple() -> None:
    pattern = re.compile("x")
    origins: Origins = ["https://example.org:8443", "http://[::1]:8765", "file://", pattern, None]
    assert validate_origins(origins) == ("https://example.org:8443", "http://[::1]:8765", "file://", pattern, None)


@pytest.mark.parametrize(
    ("origins", "why"),
    [
        ("https://example.org", "a list such as"),
        ("*", "a list such as"),
        (["*"], "scheme://host"),
        (["example.org"], "scheme://host"),
        (["null"], "scheme://host"),
        (["https://example.org/"], "scheme://host"),
        (["https://example.org/path"], "scheme://host"),
        (["https://example.org?x"], "scheme://host"),
        (["https://example.org#x"], "scheme://host"),
        (["https://user@example.org"], "scheme://host"),
        (["https://example.org\\"], "scheme://host"),
        (["https://b\xfccher.example"], "scheme://host"),
        (["https://example.org "], "scheme://host"),
        (["https://"], "no valid host"),
        (["https://*.example.org"], "a pattern is a compiled regex"),
        (["https://example.org:x"], "no valid host"),
        (["https://example.org:443"], "default port"),
        (["HTTP://example.org:80"], "default port"),
        (["https://example.org:"], "default port"),
    ],
)
def test_string_that_no_browser_sends_is_an_error(origins: Origins, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        validate_origins(origins)


@pytest.mark.parametrize(
    "origins", [None, 5, b"any", bytearray(b"any"), {"https://example.org"}, [5], [b"x"], [re.compile(b"x")]]
)
def test_wrong_type_is_an_error(origins: object) -> None:
    with pytest.raises(TypeError, match="origins"):
        validate_origins(cast("Origins", origins))
