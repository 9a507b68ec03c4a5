//! Does the runner see what is wrong? Each of these cases is wrong in one respect.

use crate::{parse, run};

const WRONG: &[(&str, &str)] = &[
    ("> GET\n< 200\n= 404", "the status is 200, not 404"),
    ("> GET\n< 204\n= 200", "the status is 204, not 200"),
    ("> GET\n= 200", "asked once too often"),
    ("> GET\n< 200\n< 200\n= 200", "the app was not asked"),
    ("> GET\n< 200 | A: b\n= 200 | A: c", "A is \"b\""),
    ("> GET\n< 200 | A: b\n= 200 | !A", "A is \"b\""),
    ("> GET\n< 200\n= 200 | A: b", "there is no A"),
    ("> GET\n< 200\n= 200 | A", "there is no A"),
    ("> GET\n< 200 | A: bcd\n= 200 | A ~ x", "A is \"bcd\""),
    ("> GET\n< 200 | A: 7\n= 200 | A in 1..6", "A is \"7\""),
    ("> GET\n< 200 | \"a\"\n= 200 | \"b\"", "not \"b\""),
    ("> GET\n< 200\n> GET\n< 200\n= 200 | body 1", "not \"body 1"),
    (
        "> GET\n< 200 | \"abcdef\" | cut\n= 200",
        "no whole response",
    ),
    ("> GET\n< 200\n? Bee", "there is no Bee"),
    ("> B: c\n< 200\n? !B", "B is \"c\""),
    ("> HEAD\n< 200\n? GET", "it begins with \"HEAD"),
    ("> GET\n< 200\n= 201\nor 202", "nor the alternative"),
    (
        "> GET\n< 200 | \"abc\"\n= 200 | parts 0-0,2-2",
        "no multipart",
    ),
    (
        "> GET\n< 200 | X-Cache: hit | Age: 1\n= hit",
        "the app was asked",
    ),
    ("> GET\n< 200 | X-Cache: stale\n= 200", "Age is missing"),
    ("> GET\n< 200 | X-Cache: warm\n= 200", "X-Cache is \"warm\""),
    (
        "> GET\n< 200 | X-Cache: stale | Age: 1 | Set-Cookie: a=b\n= 200",
        "a cookie from the store",
    ),
];

#[test]
fn a_wrong_expectation_fails() {
    let cases = WRONG
        .iter()
        .map(|(steps, _)| format!("## wrong\n{steps}\n"));
    let text: String = cases.collect();
    let file = parse::file(&format!("env CACHE_SIZE=0\n{text}"));
    let failures = run::failures("wrong", &file);
    assert_eq!(failures.len(), WRONG.len(), "{failures:#?}");
    for (failure, (steps, reason)) in failures.iter().zip(WRONG) {
        assert!(
            failure.contains(reason),
            "{reason:?} of {steps:?} is not in {failure}"
        );
    }
}

/// Without a cache, nothing that a table says of one holds.
#[test]
fn a_wrong_line_of_a_table_fails() {
    let text = "env CACHE_SIZE=0\n\
                ## wrong\n\
                stored: 200\n\
                coded: 200 | Content-Type: image/jpeg\n\
                plain: 200 | Content-Encoding: gzip | \"\"\n\
                given: 200\n\
                => 200\n\
                => hit\n\
                => 404 asks\n\
                from: 200\n\
                => 404\n";
    let file = parse::file(text);
    assert_eq!(run::failures("wrong-table", &file).len(), file.cases.len());
}

#[test]
fn what_is_right_passes() {
    let right = "\
## a proxied response
> GET /a | A: b | Host: deep.{host}
< 103 | Link: </a.css>
< 200 | C: d | ETag: \"x\" | Last-Modified: {now-10} | Count: 5 | \"e\"*5
? GET /a | A: b | !C
= 404
or 200 | C: d | ETag ~ x | Last-Modified: {now-10} | Count in 5..6 | \"eeeee\"
> GET | If-None-Match: {etag}
< 304 | ETag: {etag}
? If-None-Match: \"x\"
= 304
> POST | \"sent\"
< 201 | chunked
? Content-Length: 4
= 201 | body 2
> GET
< closed
= 502
> GET
< refused
= 502
";
    let file = parse::file(&format!("env CACHE_SIZE=0\nenv BAD_GATEWAY_PAGE=\n{right}"));
    assert_eq!(file.cases.len(), 1);
    assert_eq!(run::failures("right", &file), [""; 0]);
}
