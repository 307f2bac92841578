//! RFC 9113, sections 4 to 6, and RFC 7541: frames and compressed fields that are malformed.

use super::h2::Case;
use super::h2::Expect::*;
use super::h2::Frame::*;
use super::h2_cases::{GET, UPLOAD};

pub const CASES: &[Case] = &[
    ("5.1", "data for a stream nobody opened", &[Data(1, "hello", true)], Refused),
    ("5.1", "a reset of a stream nobody opened", &[Raw(3, 0, 1, &[0; 4])], Refused),
    ("5.1.1", "fields on stream 0", &[Fields(0, GET, true)], Refused),
    ("5.1.1", "a stream of the server's", &[Fields(2, GET, true)], Refused),
    ("6.1", "data on stream 0", &[Data(0, "hello", false)], Refused),
    (
        "6.1",
        "more padding than frame",
        &[Fields(1, UPLOAD, false), Raw(0, 8, 1, &[200, 0, 0])],
        Fails,
    ),
    ("6.2", "fields cut short by padding", &[Raw(1, 0x0d, 1, &[200, 0x82])], Refused),
    ("6.4", "a reset of the wrong size", &[Raw(3, 0, 1, &[0; 3])], Refused),
    ("6.5", "settings of the wrong size", &[Raw(4, 0, 0, &[0; 5])], Refused),
    ("6.5", "settings on a stream", &[Raw(4, 0, 1, &[])], Refused),
    (
        "6.5",
        "an acknowledgement with settings in it",
        &[Raw(4, 1, 0, &[0, 3, 0, 0, 0, 1])],
        Refused,
    ),
    ("6.5.2", "a window beyond the largest", &[Raw(4, 0, 0, &[0, 4, 255, 255, 255, 255])], Refused),
    ("6.5.2", "frames below the smallest", &[Raw(4, 0, 0, &[0, 5, 0, 0, 0, 1])], Refused),
    ("6.6", "a push by the client", &[Raw(5, 4, 1, &[0, 0, 0, 2, 0x82])], Refused),
    ("6.7", "a ping of the wrong size", &[Raw(6, 0, 0, &[0; 7])], Refused),
    ("6.7", "a ping on a stream", &[Raw(6, 0, 1, &[0; 8])], Refused),
    ("6.8", "a farewell on a stream", &[Raw(7, 0, 1, &[0; 8])], Refused),
    ("6.9", "a window larger by nothing", &[Raw(8, 0, 0, &[0; 4])], Refused),
    ("6.9.1", "a window larger than the largest", &[Raw(8, 0, 0, &[127, 255, 255, 255])], Refused),
    ("6.10", "more fields, of nothing", &[Raw(9, 4, 1, &[0x82])], Refused),
    (
        "6.10",
        "something else inside the fields",
        &[Raw(1, 1, 1, &[0x82]), Raw(6, 0, 0, &[0; 8]), Raw(9, 4, 1, &[0x86])],
        Refused,
    ),
    (
        "4.2",
        "a frame larger than agreed",
        &[Fields(1, UPLOAD, false), Filled(0, 0, 1, 16_385)],
        Fails,
    ),
    ("4.3", "an index beyond the table", &[Raw(1, 5, 1, &[0xff, 0xff, 0xff, 0x7f])], Refused),
    ("4.3", "index zero", &[Raw(1, 5, 1, &[0x80])], Refused),
    ("4.3", "an integer without an end", &[Raw(1, 5, 1, &[0xff; 64])], Refused),
    (
        "4.3",
        "a table larger than agreed",
        &[Raw(1, 5, 1, &[0x3f, 0xe1, 0xff, 0x7f, 0x82])],
        Refused,
    ),
    ("4.3", "text that ends before its length", &[Raw(1, 5, 1, &[0, 1, b'x', 100, b'y'])], Refused),
    ("4.3", "text padded with the wrong bits", &[Raw(1, 5, 1, &[0, 0x81, 0, 1, b'y'])], Refused),
    ("10.5.1", "fields of 100,000 bytes", &[ManyFields(1, 100)], Refused),
    ("10.5.1", "fields of a megabyte", &[ManyFields(1, 1000)], Refused),
];
