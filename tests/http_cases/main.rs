//! The rules of HTTP as tables of small cases, each with the section that it is from: caching (RFC 9111, 5861, 9211, 9213),
//! conditions, ranges and codings (RFC 9110), and what the app may leave to us (files). A case runs through the real
//! executable, between a real client and an app that follows the case's script.
//!
//! One file of `cases/` is one test, with one Thrust; each case has a host of its own, so that none sees what another
//! stored. `CASE=words cargo test --test http_cases` runs only the cases whose name contains these words.
//!
//! ```text
//! env CACHE_REQUIRE_PUBLIC=0            before the first case: what Thrust is told, with THRUSTER_ in front
//! file public/a.txt "hello" now-100     a file below {dir}, and when it was modified
//! alone                                 no case at the same time as another
//!
//! ## 9111-4.2.1 s-maxage comes before max-age
//! > GET /a | Accept: text/html          what the client asks; GET / where nothing is said
//! < 200 | Cache-Control: s-maxage=60    what the app answers; without such a line the app must not be asked
//! ? GET | !If-None-Match                what the app must have been sent
//! = 200 miss | ETag: "a" | "hello"      what the client must get: status (200), X-Cache, fields, body
//! or 304 | !Content-Type                what it may get instead
//! wait 1.1                              time goes by, in seconds
//! ```
//!
//! Fields of an expectation: `Name: value` is equal, `Name ~ part` contains it, `Name in 5..10` is a number of that range,
//! `Name` is there, `!Name` is not. `body 2` is the second body that the app gave, `parts 0-1,5-9` are ranges of the first.
//! `<?` is an answer that the app may be asked for or not, `<&` one that it is asked for behind the client's back; a 1xx
//! comes before the answer. Among an answer's fields may stand `chunked`, `until close`, `cut` (half of the body, then a close);
//! `< closed` is no answer at all, `< refused` not even a connection. `soon` among a request's fields repeats it until it gets
//! what is expected. `{now+60}` is a date, `{host}` the case's host, `{dir}` the directory of the files; `{etag}` and any other field's
//! name in braces is what the last response had there.
//!
//! A table is a heading with several cases below it, each a line:
//!
//! ```text
//! stored: 200 | Cache-Control: public, max-age=60       given twice, asked for once
//! unstored: 200 | ... | > Cookie: a=b                   asked for twice, as if for the first time; `>` is the client's
//! again: 200 | ...                                      asked for twice, perhaps with a condition
//! coded: 200 | ...      plain: 200 | ...                sent in gzip, or not, to one who takes it
//!
//! given: 200 | ... | "0123456789"                       what is stored before each of the following
//! Range: bytes=0-1 => 206 hit | "01"                    a request, and what the client gets; `asks`: from the app
//!
//! from: 200 | ...                                       the app's answer to each of the following, nothing being stored
//! Accept-Encoding: br => 200 | Content-Encoding: br
//! ```
#![expect(
    clippy::unwrap_used,
    reason = "a test program: what cannot fail here fails the test"
)]

// The executable, its log, a client: the toolbox of the end-to-end tests.
#[allow(
    dead_code,
    unused_imports,
    reason = "a toolbox; not every tool is in use here"
)]
#[path = "../e2e/support/mod.rs"]
mod support;

// What a case consists of.
mod case;

// What the client must get, held against what it got.
mod expected;

// What holds for every response.
mod manners;

// From text to cases.
mod parse;

// The app, which follows the script.
mod origin;

// One file: a Thrust, an origin, all cases.
mod run;

// Lines that stand for whole cases.
mod table;

// Dates, hosts and what else is not known beforehand.
mod variables;

// Does the runner see what is wrong?
mod watchman;

use std::{collections::BTreeSet, fs, path::PathBuf};

fn directory() -> PathBuf {
    PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/http_cases/cases"
    ))
}

/// A test per file of `cases/`, of the same name.
macro_rules! files {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                run::file(&directory().join(concat!(stringify!($name), ".txt")));
            }
        )*

        #[test]
        fn every_file_is_a_test() {
            let tests = BTreeSet::from([$(concat!(stringify!($name), ".txt").to_owned()),*]);
            let files = fs::read_dir(directory()).unwrap();
            let files = files.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            assert_eq!(files.collect::<BTreeSet<_>>(), tests, "left: files, right: tests");
        }
    };
}

files! {
    accel
    age
    authorization
    cache_status
    cdn
    coding
    coding_guarded
    coding_off
    coding_stored
    coding_told
    conditions
    error_pages
    freshness
    gate
    gone
    head
    invalidation
    keys
    limits
    no_cache_at_all
    precompressed
    public_files
    ranges
    requests
    responses
    sendfile
    sendfile_off
    stale
    storing
    validation
    vary
}
