//! RFC 9113, section 8: fields that HTTP/2 forbids, most of them to keep what is behind a gateway safe.

use super::h2::Expect::*;
use super::h2::Frame::*;
use super::h2::{Case, Field};

const METHOD: Field = (":method", "GET");
const POST: Field = (":method", "POST");
const SCHEME: Field = (":scheme", "http");
const PATH: Field = (":path", "{path}");
const SINK: Field = (":path", "/sink");
const HOST: Field = (":authority", "test");

pub const GET: &[Field] = &[METHOD, SCHEME, PATH, HOST];
pub const UPLOAD: &[Field] = &[POST, SCHEME, SINK, HOST];

pub const CASES: &[Case] = &[
    ("8.3", "a sound request", &[Fields(1, GET, true)], Answers(200)),
    ("8.1", "a sound upload", &[Fields(1, UPLOAD, false), Data(1, "hello", true)], Answers(200)),
    (
        "8.2.2",
        "connection",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("connection", "close")], true)],
        Refused,
    ),
    (
        "8.2.2",
        "keep-alive",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("keep-alive", "5")], true)],
        Refused,
    ),
    (
        "8.2.2",
        "proxy-connection",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("proxy-connection", "close")], true)],
        Refused,
    ),
    (
        "8.2.2",
        "upgrade",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("upgrade", "h2c")], true)],
        Refused,
    ),
    (
        "8.2.2",
        "transfer-encoding",
        &[
            Fields(1, &[POST, SCHEME, PATH, HOST, ("transfer-encoding", "chunked")], false),
            Data(1, "0\r\n\r\n", true),
        ],
        Refused,
    ),
    (
        "8.2.2",
        "te that asks for gzip",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("te", "gzip")], true)],
        Refused,
    ),
    (
        "8.2.2",
        "te that asks for trailers",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("te", "trailers")], true)],
        Answers(200),
    ),
    (
        "8.2.1",
        "a name in capitals",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("X-Y", "a")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a name with a space",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x y", "a")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a name with a colon",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x:y", "a")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a name with a line end",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x\r\ny", "a")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "an empty name",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("", "a")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "NUL in a value",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x", "a\0b")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a line end in a value",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x", "a\r\nhost: b")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a bare LF in a value",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x", "a\nb")], true)],
        Refused,
    ),
    (
        "8.2.1",
        "a bare CR in a value",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("x", "a\rb")], true)],
        Refused,
    ),
    (
        "8.3",
        "a pseudo field after another",
        &[Fields(1, &[METHOD, SCHEME, HOST, ("x", "a"), PATH], true)],
        Refused,
    ),
    (
        "8.3",
        "a pseudo field nobody knows",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, (":x", "a")], true)],
        Refused,
    ),
    (
        "8.3",
        "an answer's pseudo field",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, (":status", "200")], true)],
        Refused,
    ),
    ("8.3.1", "two methods", &[Fields(1, &[METHOD, POST, SCHEME, PATH, HOST], true)], Refused),
    ("8.3.1", "two schemes", &[Fields(1, &[METHOD, SCHEME, SCHEME, PATH, HOST], true)], Refused),
    ("8.3.1", "two paths", &[Fields(1, &[METHOD, SCHEME, PATH, SINK, HOST], true)], Refused),
    ("8.3.1", "two authorities", &[Fields(1, &[METHOD, SCHEME, PATH, HOST, HOST], true)], Refused),
    ("8.3.1", "no method", &[Fields(1, &[SCHEME, PATH, HOST], true)], Refused),
    ("8.3.1", "no scheme", &[Fields(1, &[METHOD, PATH, HOST], true)], Refused),
    ("8.3.1", "no path", &[Fields(1, &[METHOD, SCHEME, HOST], true)], Refused),
    ("8.3.1", "an empty path", &[Fields(1, &[METHOD, SCHEME, (":path", ""), HOST], true)], Refused),
    (
        "8.3.1",
        "a path without a slash",
        &[Fields(1, &[METHOD, SCHEME, (":path", "stderr?text=seen"), HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a path with a space",
        &[Fields(1, &[METHOD, SCHEME, (":path", "{path} HTTP/1.1"), HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a path with a request in it",
        &[Fields(
            1,
            &[METHOD, SCHEME, (":path", "{path} HTTP/1.1\r\nhost: b\r\n\r\n"), HOST],
            true,
        )],
        Refused,
    ),
    (
        "8.3.1",
        "an asterisk without OPTIONS",
        &[Fields(1, &[METHOD, SCHEME, (":path", "*"), HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a method with a space",
        &[Fields(1, &[(":method", "GET /"), SCHEME, PATH, HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "an empty method",
        &[Fields(1, &[(":method", ""), SCHEME, PATH, HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a scheme of another protocol",
        &[Fields(1, &[METHOD, (":scheme", "ftp"), PATH, HOST], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a scheme with a host in it",
        &[Fields(1, &[METHOD, (":scheme", "http://other/x?"), PATH, HOST], true)],
        Refused,
    ),
    ("8.3.1", "no authority and no host", &[Fields(1, &[METHOD, SCHEME, PATH], true)], Refused),
    (
        "8.3.1",
        "an authority with a user",
        &[Fields(1, &[METHOD, SCHEME, PATH, (":authority", "me@test")], true)],
        Refused,
    ),
    (
        "8.3.1",
        "an authority with a path",
        &[Fields(1, &[METHOD, SCHEME, PATH, (":authority", "test/x")], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a host that is not the authority",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("host", "other")], true)],
        Refused,
    ),
    (
        "8.3.1",
        "a host that is the authority",
        &[Fields(1, &[METHOD, SCHEME, PATH, HOST, ("host", "test")], true)],
        Answers(200),
    ),
    (
        "8.3.1",
        "a host for an authority",
        &[Fields(1, &[METHOD, SCHEME, PATH, ("host", "test")], true)],
        Answers(200),
    ),
    (
        "8.3.1",
        "two hosts",
        &[Fields(1, &[METHOD, SCHEME, PATH, ("host", "test"), ("host", "other")], true)],
        Refused,
    ),
    (
        "8.5",
        "a tunnel",
        &[Fields(1, &[(":method", "CONNECT"), (":authority", "test:80")], false)],
        Refused,
    ),
    (
        "8.5",
        "a tunnel with a path",
        &[Fields(1, &[(":method", "CONNECT"), SCHEME, PATH, HOST], true)],
        Refused,
    ),
    (
        "8.1.1",
        "more than the length",
        &[
            Fields(1, &[POST, SCHEME, SINK, HOST, ("content-length", "3")], false),
            Data(1, "hello", true),
        ],
        Fails,
    ),
    (
        "8.1.1",
        "less than the length",
        &[
            Fields(1, &[POST, SCHEME, SINK, HOST, ("content-length", "9")], false),
            Data(1, "hello", true),
        ],
        Fails,
    ),
    (
        "8.1.1",
        "a length and no body",
        &[Fields(1, &[POST, SCHEME, PATH, HOST, ("content-length", "9")], true)],
        Refused,
    ),
    (
        "8.1.1",
        "two lengths",
        &[
            Fields(
                1,
                &[POST, SCHEME, PATH, HOST, ("content-length", "5"), ("content-length", "6")],
                false,
            ),
            Data(1, "hello", true),
        ],
        Refused,
    ),
    (
        "8.1.1",
        "a length that is no number",
        &[
            Fields(1, &[POST, SCHEME, PATH, HOST, ("content-length", "+5")], false),
            Data(1, "hello", true),
        ],
        Refused,
    ),
    // Malformed, strictly; the library drops them, so that no plugin sees any.
    (
        "8.1",
        "pseudo fields in the trailers are dropped",
        &[Fields(1, UPLOAD, false), Data(1, "hello", false), Fields(1, &[METHOD], true)],
        Answers(200),
    ),
    (
        "8.1",
        "trailers that do not end the stream",
        &[Fields(1, UPLOAD, false), Data(1, "hello", false), Fields(1, &[("x", "y")], false)],
        Fails,
    ),
];
