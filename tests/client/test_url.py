"""What a ws or wss URL says."""

from __future__ import annotations

import base64
import traceback

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trio_ws._client.url import WebSocketURL, parse_url
from trio_ws._errors import InvalidURL, LocalHandshakeError
from trio_ws._wire.client_handshake import ClientHandshake


def test_url_is_split_into_its_parts() -> None:
    assert parse_url("wss://user:pass@example.org:8443/chat?room=1") == WebSocketURL(
        secure=True,
        host="example.org",
        port=8443,
        target="/chat?room=1",
        host_header="example.org:8443",
        authorization="Basic dXNlcjpwYXNz",
    )


@pytest.mark.parametrize(("scheme", "secure", "port"), [("ws", False, 80), ("wss", True, 443), ("WsS", True, 443)])
def test_scheme_gives_security_and_default_port(scheme: str, secure: bool, port: int) -> None:
    url = parse_url(f"{scheme}://example.org")
    assert (url.secure, url.port, url.host_header) == (secure, port, "example.org")


@pytest.mark.parametrize(
    ("url", "port", "host_header"),
    [
        ("ws://a:80", 80, "a"),
        ("ws://a:443", 443, "a:443"),
        ("wss://a:443", 443, "a"),
        ("wss://a:00443/", 443, "a"),
        ("ws://a:", 80, "a"),
        ("ws://a:1", 1, "a:1"),
        ("ws://a:65535", 65535, "a:65535"),
        ("ws://[::1]", 80, "[::1]"),
        ("ws://[::1]:8080", 8080, "[::1]:8080"),
        ("ws://[::1]:", 80, "[::1]"),
    ],
)
def test_default_port_is_not_in_the_host_header(url: str, port: int, host_header: str) -> None:
    assert (parse_url(url).port, parse_url(url).host_header) == (port, host_header)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("EXAMPLE.org", "example.org"),
        ("example.org.", "example.org."),
        ("a_b", "a_b"),
        ("127.0.0.1", "127.0.0.1"),
        ("[2001:DB8:0:0:0:0:0:1]", "2001:db8::1"),
        ("bücher.example", "xn--bcher-kva.example"),
        ("BÜCHER.example", "xn--bcher-kva.example"),
        ("例え。テスト", "xn--r8jz45g.xn--zckzah"),
        ("straße.example", "xn--strae-oqa.example"),
        ("a" * 63 + ".b", "a" * 63 + ".b"),
    ],
)
def test_host_is_ascii_in_lower_case(text: str, host: str) -> None:
    assert parse_url(f"ws://{text}/").host == host


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("", "/"),
        ("/", "/"),
        ("?a=b", "/?a=b"),
        ("?", "/?"),
        ("/a/b?c=/d?e", "/a/b?c=/d?e"),
        ("//a", "//a"),
        ("/a;b=c,d@e:f!g$h&i'j(k)l*m+n-o._~", "/a;b=c,d@e:f!g$h&i'j(k)l*m+n-o._~"),
        ("/é?ü=€", "/%C3%A9?%C3%BC=%E2%82%AC"),
        ("/%C3%a9%2f%20", "/%C3%a9%2f%20"),
        ("/100%", "/100%25"),
        ("/%zz%4", "/%25zz%254"),
        ('/"<>^`{|}[]', "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D"),
        ("/../a/./b", "/../a/./b"),
    ],
)
def test_target_is_percent_encoded(text: str, target: str) -> None:
    assert parse_url(f"ws://example.org{text}").target == target


@pytest.mark.parametrize(
    ("userinfo", "credentials"),
    [
        ("user:pass", b"user:pass"),
        ("user", b"user:"),
        (":pass", b":pass"),
        (":", b":"),
        ("us%40er:p%3Aa%2Fss%25", b"us@er:p:a/ss%"),
        ("user:a:b", b"user:a:b"),
        ("üser:%C3%BC", "üser:ü".encode()),
        ("u:%ff", b"u:\xff"),
    ],
)
def test_userinfo_becomes_basic_authorization(userinfo: str, credentials: bytes) -> None:
    url = parse_url(f"ws://{userinfo}@example.org")
    assert url.authorization == f"Basic {base64.b64encode(credentials).decode()}"
    assert (url.host, url.host_header) == ("example.org", "example.org")


def test_no_userinfo_is_no_authorization() -> None:
    assert parse_url("ws://example.org/@x").authorization is None
    assert parse_url("ws://@example.org").authorization is None


def test_authorization_is_not_in_the_representation() -> None:
    url = parse_url("ws://user:pass@example.org")
    assert url.authorization is not None
    assert url.authorization not in repr(url)


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "begins with ws:// or wss://"),
        ("example.org", "begins with ws:// or wss://"),
        ("//example.org", "begins with ws:// or wss://"),
        ("http://example.org", "begins with ws:// or wss://"),
        ("wsx://example.org", "begins with ws:// or wss://"),
        ("ws:example.org", "begins with ws:// or wss://"),
        ("ws:/example.org", "begins with ws:// or wss://"),
        ("\u017fs://example.org", "begins with ws:// or wss://"),
        ("ws://example.org/#", "no fragment"),
        ("ws://example.org#a", "no fragment"),
        ("ws://example.org/?a#b", "no fragment"),
        ("ws://", "no host"),
        ("ws:///a", "no host"),
        ("ws://:80", "no host"),
        ("ws://user@", "no host"),
        ("ws://?a", "no host"),
        ("ws://a:0", "the port is not"),
        ("ws://a:65536", "the port is not"),
        ("ws://a:000080", "the port is not"),
        ("ws://a:-1", "the port is not"),
        ("ws://a:+1", "the port is not"),
        ("ws://a:1_0", "the port is not"),
        ("ws://a:\u0661", "the port is not"),
        ("ws://a:b:c", "the port is not"),
        ("ws://[::1]:b", "the port is not"),
        ("ws://::1", "no host"),
        ("ws://[::1", "the brackets"),
        ("ws://[::1]8", "the brackets"),
        ("ws://[::1%25lo]", "the zone"),
        ("ws://[a]", "the host is not valid"),
        ("ws://[127.0.0.1]", "the host is not valid"),
        ("ws://.", "the host is not valid"),
        ("ws://a..b", "the host is not valid"),
        ("ws://.a", "the host is not valid"),
        ("ws://a..", "the host is not valid"),
        ("ws://a%20b", "the host is not valid"),
        ("ws://a,b", "the host is not valid"),
        ("ws://a]", "the host is not valid"),
        ("ws://" + "a" * 64, "the host is not valid"),
        ("ws://" + "a." * 127, "the host is not valid"),
        ("ws://" + "ü" * 64, "the host is not valid"),
        ("ws://\u2028", "the host is not valid"),
        ("ws://a\uff0fb", "the host is not valid"),
        ("ws://xn--ü", "the host is not valid"),
        ("ws://\u3002", "the host is not valid"),
        ("ws://a@b@c", "written %40"),
        ("ws://a%3Ab:c@d", "a character that it may not"),
        ("ws://a:b%0D%0A@c", "a character that it may not"),
        ("ws://a%00@c", "a character that it may not"),
        ("ws://a%7f@c", "a character that it may not"),
        ("ws://a/\ud800", "lone surrogates"),
        ("ws://\udc80", "lone surrogates"),
    ],
)
def test_url_that_is_none_is_refused(url: str, why: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert why in str(caught.value)


@pytest.mark.parametrize("character", [*map(chr, range(0x21)), *map(chr, range(0x7F, 0xA0)), "\\"])
@pytest.mark.parametrize("url", ["{}ws://a/b", "w{}s://a/b", "ws://{}a/b", "ws://a{}/b", "ws://a/b{}", "ws://a/?{}"])
def test_control_character_space_and_backslash_are_refused(url: str, character: str) -> None:
    with pytest.raises(InvalidURL, match="no spaces, control characters and backslashes"):
        parse_url(url.format(character))


@pytest.mark.parametrize("url", [None, b"ws://example.org", 5])
def test_url_that_is_not_a_str_is_refused(url: object) -> None:
    with pytest.raises(InvalidURL, match="a URL is a str"):
        parse_url(url)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "url",
    [
        "ws://user:hunter2@",
        "ws://user:hunter2@a..b",
        "ws://user:hunter2@a:0/",
        "http://user:hunter2@a/",
        "user:hunter2@a/",
        "ws://user:hunter2/x@a/",
        "ws://user:hunter2@x@a/",
        "ws://user:hunter2?x@a/",
        "ws://user:hunter2#x@a/",
        "ws://user:hunter2 @a/",
        "ws://user:hunter2\\@a/",
        "ws://user:hunter2%0a@a/",
        "ws://user:hunter2@\xfc\u2028/",
        "ws://a:0/?password=hunter2",
    ],
)
def test_error_keeps_the_password_to_itself(url: str) -> None:
    with pytest.raises(InvalidURL) as caught:
        parse_url(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)).replace(url, "")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__context__ is None


parts = st.sampled_from(["ws://", "wss://", "a", "[::1]", ":", "80", "/", "?", "@", "%", "%41", "é", ".", "。", "#"])


@settings(deadline=None)
@given(st.lists(parts | st.text(max_size=3), max_size=8).map("".join))
def test_what_is_parsed_can_be_sent(text: str) -> None:
    for url in (text, f"ws://{text}", f"ws://a{text}"):
        try:
            parsed = parse_url(url)
        except InvalidURL:
            continue
        headers = {"Authorization": parsed.authorization} if parsed.authorization else {}
        try:
            ClientHandshake(host=parsed.host_header, target=parsed.target, headers=headers)
        except LocalHandshakeError as error:
            raise AssertionError(url) from error
