//! RFC 9112, section 7.1: the chunked coding. Its faults show only in the body, when the plugin has
//! been called already: whatever it makes of them, nothing after them is a request.

use super::case::{Case, Expect::*};

pub const CASES: &[Case] = &[
    (
        "7.1",
        "two chunks",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n",
        Sound("6\n"),
    ),
    (
        "7.1",
        "sizes in either case",
        "{sink}Transfer-Encoding: chunked\r\n\r\n\
        A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n",
        Sound("20\n"),
    ),
    (
        "7.1",
        "zeros before the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n005\r\nhello\r\n000\r\n\r\n",
        Sound("5\n"),
    ),
    (
        "7.1.1",
        "an extension",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5;a=b;c\r\nhello\r\n0;d\r\n\r\n",
        Sound("5\n"),
    ),
    (
        "7.1.2",
        "a trailer",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
        Sound("5\n"),
    ),
    (
        "7.1.2",
        "trailers do not change the framing",
        "{sink}Transfer-Encoding: chunked\r\n\r\n\
        5\r\nhello\r\n0\r\nContent-Length: 50\r\nTransfer-Encoding: gzip\r\n\r\n",
        Sound("5\n"),
    ),
    ("7.1", "no size", "{sink}Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n", Last(400)),
    (
        "7.1",
        "a size of letters",
        "{sink}Transfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a size with 0x",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a size with a plus",
        "{sink}Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a negative size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n-5\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a size with an underline",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0_5\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a space before the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n 5\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a space inside the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5 0\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "NUL after the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\0\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a size beyond 64 bits",
        "{sink}Transfer-Encoding: chunked\r\n\r\n10000000000000005\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a size of 100 digits",
        "{sink}Transfer-Encoding: chunked\r\n\r\n\
        5555555555555555555555555555555555555555555555555555555555555555555555555555555555\r\n\
        hello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a bare LF after the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a bare CR after the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\rhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "CR CR LF after the size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a chunk longer than its size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n4\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a chunk shorter than its size",
        "{sink}Transfer-Encoding: chunked\r\n\r\n6\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a chunk that ends in a bare LF",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a chunk that ends in a bare CR",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a chunk that ends in any two bytes",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhelloXX0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a last chunk with a bare LF",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\n\r\n",
        Last(400),
    ),
    (
        "7.1",
        "a last chunk with a bare CR",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\rX",
        Last(400),
    ),
    (
        "7.1.1",
        "a bare LF in an extension",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5;a\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.1",
        "a bare CR in an extension",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.1",
        "an extension of 20,000 bytes",
        "{sink}Transfer-Encoding: chunked\r\n\r\n5;{x*20000}\r\nhello\r\n0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.2",
        "a trailer with a bare CR",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\rb\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.2",
        "a trailer without a colon",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0\r\nnonsense\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.2",
        "a folded trailer",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\r\n b\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.2",
        "NUL in a trailer",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0\r\nX: a\0\r\n\r\n",
        Last(400),
    ),
    (
        "7.1.2",
        "a trailer of 70,000 bytes",
        "{sink}Transfer-Encoding: chunked\r\n\r\n0\r\nX: {x*70000}\r\n\r\n",
        Last(400),
    ),
    (
        "9110 15.5.14",
        "chunks over the limit",
        "{sink}Transfer-Encoding: chunked\r\n\r\n\
        10001\r\n{x*65537}\r\n0\r\n\r\n",
        Last(413),
    ),
];
