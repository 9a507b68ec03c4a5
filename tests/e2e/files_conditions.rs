use crate::support::{Client, Place, Response, Thrust};

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const EARLIER: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
const LATER: &str = "Sun, 06 Nov 1994 08:49:38 GMT";
const TAG: &str = "\"a\"";

/// A file of ten digits, which the app gives the tag `"a"` and [`DATE`].
struct Digits {
    client: Client,
    path: String,
    _thrust: Thrust,
    _place: Place,
}

impl Digits {
    fn new() -> Self {
        let place = Place::new();
        let thrust = Thrust::builder().start();
        Self {
            client: thrust.connect(),
            path: place.file("digits.txt", "0123456789"),
            _thrust: thrust,
            _place: place,
        }
    }

    fn ask(&mut self, method: &str, fields: &[(&str, &str)]) -> Response {
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name}: {value}\r\n"));
        let answer = format!(
            "x-sendfile: {} | etag: {TAG} | last-modified: {DATE}",
            self.path
        );
        let lines = lines.collect::<String>() + "answer: " + &answer + "\r\n";
        self.client.send_head(method, "/named", &lines);
        self.client.response()
    }
}

#[test]
fn conditions_are_held_in_the_order_of_section_13_2_2() {
    let mut digits = Digits::new();
    for (fields, status) in [
        (&[][..], 200),
        (&[("if-match", TAG)], 200),
        (&[("if-match", "\"b\", \"a\"")], 200),
        (&[("if-match", "*")], 200),
        (&[("if-match", "\"b\"")], 412),
        (&[("if-match", "W/\"a\"")], 412),
        (&[("if-unmodified-since", DATE)], 200),
        (&[("if-unmodified-since", EARLIER)], 412),
        (&[("if-unmodified-since", "nonsense")], 200),
        (&[("if-none-match", TAG)], 304),
        (&[("if-none-match", "\"b\", W/\"a\"")], 304),
        (&[("if-none-match", "*")], 304),
        (&[("if-none-match", "\"b\"")], 200),
        (&[("if-modified-since", DATE)], 304),
        (&[("if-modified-since", LATER)], 304),
        (&[("if-modified-since", EARLIER)], 200),
        // If-Match before If-Unmodified-Since, and both before the others.
        (&[("if-match", TAG), ("if-unmodified-since", EARLIER)], 200),
        (&[("if-match", "\"b\""), ("if-none-match", TAG)], 412),
        (
            &[("if-unmodified-since", EARLIER), ("if-none-match", TAG)],
            412,
        ),
        (&[("if-match", TAG), ("if-none-match", TAG)], 304),
        // If-None-Match before If-Modified-Since.
        (
            &[("if-none-match", "\"b\""), ("if-modified-since", LATER)],
            200,
        ),
        (
            &[("if-none-match", TAG), ("if-modified-since", EARLIER)],
            304,
        ),
        // All of them before Range.
        (&[("if-none-match", TAG), ("range", "bytes=0-1")], 304),
        (&[("if-match", "\"b\""), ("range", "bytes=0-1")], 412),
        (&[("if-match", TAG), ("range", "bytes=0-1")], 206),
        (&[("if-none-match", TAG), ("range", "bytes=20-")], 304),
    ] {
        let response = digits.ask("GET", fields);
        assert_eq!(response.status, status, "{fields:?}");
        let body = match status {
            200 => "0123456789",
            206 => "01",
            _ => "",
        };
        assert_eq!(response.text(), body, "{fields:?}");
        // A 304 says what a 200 would have said to a cache (section 15.4.5).
        assert_eq!(response.field("etag").as_deref(), Some(TAG));
        if status == 304 {
            assert_eq!(response.field("content-type"), None);
        }
    }
}

#[test]
fn the_file_s_own_validators_count_where_the_app_gives_none() {
    let place = Place::new();
    let thrust = Thrust::builder().start();
    let answer = format!("answer: x-sendfile: {}\r\n", place.file("a", "abc"));
    let mut client = thrust.connect();
    let mut ask = |fields: &str| {
        client.send_head("GET", "/named", &format!("{answer}{fields}"));
        client.response()
    };
    let first = ask("");
    let (tag, date) = (
        first.field("etag").unwrap(),
        first.field("last-modified").unwrap(),
    );
    assert_eq!(ask(&format!("if-none-match: {tag}\r\n")).status, 304);
    assert_eq!(ask(&format!("if-match: {tag}\r\n")).status, 200);
    assert_eq!(ask(&format!("if-modified-since: {date}\r\n")).status, 304);
    assert_eq!(
        ask(&format!("range: bytes=1-\r\nif-range: {tag}\r\n")).text(),
        "bc"
    );
    assert_eq!(
        ask(&format!("range: bytes=1-\r\nif-range: {date}\r\n")).text(),
        "bc"
    );
}

#[test]
fn one_range_is_a_part_and_several_are_parts_in_their_order() {
    let mut digits = Digits::new();
    for (range, part, content_range) in [
        ("bytes=0-0", "0", "bytes 0-0/10"),
        ("bytes=2-4", "234", "bytes 2-4/10"),
        ("bytes=7-", "789", "bytes 7-9/10"),
        ("bytes=-2", "89", "bytes 8-9/10"),
        ("bytes=-20", "0123456789", "bytes 0-9/10"),
        ("bytes=5-99", "56789", "bytes 5-9/10"),
        ("bytes=99-,5-6", "56", "bytes 5-6/10"),
    ] {
        let response = digits.ask("GET", &[("range", range)]);
        assert_eq!(
            (response.status, response.text().as_str()),
            (206, part),
            "{range}"
        );
        assert_eq!(
            response.field("content-range").as_deref(),
            Some(content_range)
        );
        assert_eq!(response.field("etag").as_deref(), Some(TAG));
    }
    let response = digits.ask("GET", &[("range", "bytes=8-9,0-1,4-4")]);
    assert_eq!(
        (response.status, response.field("content-range")),
        (206, None)
    );
    let kind = response.field("content-type").unwrap();
    let boundary = kind
        .strip_prefix("multipart/byteranges; boundary=")
        .unwrap();
    let part = |range: &str, bytes: &str| {
        let kind = "text/plain; charset=utf-8";
        format!(
            "--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: bytes {range}/10\r\n\r\n{bytes}\r\n"
        )
    };
    let parts = part("8-9", "89") + &part("0-1", "01") + &part("4-4", "4");
    assert_eq!(response.text(), format!("{parts}--{boundary}--\r\n"));
}

#[test]
fn ranges_that_do_not_count_get_the_whole_and_those_beyond_the_end_416() {
    let mut digits = Digits::new();
    for range in [
        "bytes=4-2",
        "bytes=a-b",
        "lines=0-1",
        "bytes=",
        "bytes=0-9,0-9",
    ] {
        let response = digits.ask("GET", &[("range", range)]);
        assert_eq!((response.status, response.body.len()), (200, 10), "{range}");
        assert_eq!(response.field("accept-ranges").as_deref(), Some("bytes"));
    }
    for range in ["bytes=10-", "bytes=10-12,99-", "bytes=-0"] {
        let response = digits.ask("GET", &[("range", range)]);
        assert_eq!((response.status, response.body.len()), (416, 0), "{range}");
        assert_eq!(
            response.field("content-range").as_deref(),
            Some("bytes */10")
        );
    }
}

#[test]
fn if_range_takes_the_strong_tag_and_the_very_date() {
    let mut digits = Digits::new();
    for (condition, status) in [
        (TAG, 206),
        ("\"b\"", 200),
        ("W/\"a\"", 200),
        (DATE, 206),
        (EARLIER, 200),
        (LATER, 200),
    ] {
        let fields = [("range", "bytes=0-1"), ("if-range", condition)];
        assert_eq!(digits.ask("GET", &fields).status, status, "{condition}");
    }
    let fields = [("range", "bytes=20-"), ("if-range", "\"b\"")];
    assert_eq!(
        digits.ask("GET", &fields).status,
        200,
        "no 416 for what does not count"
    );
}

#[test]
fn head_is_get_without_the_bytes_and_without_ranges() {
    let mut digits = Digits::new();
    for (fields, status) in [
        (&[][..], 200),
        (&[("range", "bytes=0-1")], 200),
        (&[("if-none-match", TAG)], 304),
        (&[("if-match", "\"b\"")], 412),
    ] {
        let response = digits.ask("HEAD", fields);
        assert_eq!(
            (response.status, response.body.len()),
            (status, 0),
            "{fields:?}"
        );
        if status == 200 {
            assert_eq!(response.field("content-length").as_deref(), Some("10"));
            assert_eq!(response.field("accept-ranges").as_deref(), Some("bytes"));
        }
    }
    assert_eq!(
        digits.ask("GET", &[]).text(),
        "0123456789",
        "and the connection goes on"
    );
}
