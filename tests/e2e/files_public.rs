use std::{fs, os::unix::fs::symlink, process::Command};

use nix::sys::signal::Signal;

use crate::support::{Builder, PATIENCE, Place, Record, Response, Thrust, eventually, noise};

fn with_public(place: &Place) -> Builder {
    Thrust::builder()
        .env("THRUSTER_PUBLIC_FILES_ENABLED", "1")
        .env("THRUSTER_PUBLIC_PATH", place.path().join("public"))
}

fn ask(thrust: &Thrust, method: &str, target: &str, fields: &str) -> Response {
    let mut client = thrust.connect();
    client.send_head(method, target, fields);
    client.response()
}

fn field(response: &Response, name: &str) -> String {
    response.field(name).unwrap_or_default()
}

/// Whether the example app answered, which knows no such path.
fn is_the_app_s(response: &Response) -> bool {
    (response.status, response.text().as_str()) == (404, "no such path\n")
}

#[test]
fn what_is_there_is_sent_without_the_app_and_what_is_not_goes_on_to_it() {
    let place = Place::new();
    place.file("public/robots.txt", "User-agent: *\n");
    place.file("public/a b/c.png", "png");
    let thrust = with_public(&place).start();
    let robots = thrust.get("/robots.txt?v=1");
    assert_eq!(
        (robots.status, robots.text().as_str()),
        (200, "User-agent: *\n")
    );
    assert_eq!(field(&robots, "content-type"), "text/plain; charset=utf-8");
    assert_eq!(field(&robots, "accept-ranges"), "bytes");
    assert_eq!(
        field(&thrust.get("/a%20b/c.png"), "content-type"),
        "image/png"
    );
    let head = ask(&thrust, "HEAD", "/robots.txt", "");
    assert_eq!(
        (field(&head, "content-length").as_str(), head.body.len()),
        ("14", 0)
    );
    assert!(!thrust.has_child_line("request GET /robots.txt"));
    assert_eq!(thrust.get("/hello").status, 200);
    for target in ["/robots.txt/more", "/nothing", "/a b/missing.png"]
        .map(|target| target.replace(' ', "%20"))
    {
        assert!(is_the_app_s(&thrust.get(&target)), "{target}");
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        assert!(
            is_the_app_s(&ask(&thrust, method, "/robots.txt", "")),
            "{method}"
        );
    }
    let got =
        |record: &Record| record.field("path") == "/robots.txt" && record.field("method") == "GET";
    let logged = thrust
        .find(PATIENCE, got)
        .expect("a line in the access log");
    assert_eq!(
        (
            logged.number("status"),
            logged.number("resp_content_length")
        ),
        (200, 14)
    );
}

#[test]
fn it_is_off_unless_asked_for() {
    let place = Place::new();
    place.file("public/robots.txt", "public");
    let builder = Thrust::builder().env("THRUSTER_PUBLIC_PATH", place.at("public"));
    assert!(is_the_app_s(&builder.start().get("/robots.txt")));
}

#[test]
fn pages_are_found_as_rails_finds_them() {
    let place = Place::new();
    for name in [
        "index.html",
        "about.html",
        "docs/index.html",
        "both.html",
        "both/index.html",
        "plain",
    ] {
        place.file(&format!("public/{name}"), name);
    }
    fs::create_dir(place.at("public/empty")).unwrap();
    let thrust = with_public(&place).start();
    for (target, expected) in [
        ("/", "index.html"),
        ("/about", "about.html"),
        ("/about/", "about.html"),
        ("/about.html", "about.html"),
        ("/about.html/", "about.html"),
        ("/docs", "docs/index.html"),
        ("/docs/", "docs/index.html"),
        ("/both", "both.html"),
        ("/plain", "plain"),
    ] {
        assert_eq!(thrust.get(target).text(), expected, "{target}");
    }
    for target in ["/empty", "/docs/index.html.html"] {
        assert!(is_the_app_s(&thrust.get(target)), "{target}");
    }
    let upgrade = "connection: upgrade\r\nupgrade: websocket\r\n";
    assert_ne!(ask(&thrust, "GET", "/", upgrade).text(), "index.html");
}

#[test]
fn what_is_hidden_outside_or_no_file_is_none_of_ours() {
    let place = Place::new();
    place.file("secret", "secret");
    for name in [".env", ".well-known/a", "a/.git/config", "a/b"] {
        place.file(&format!("public/{name}"), "secret");
    }
    for (name, target) in [
        ("out", "../secret".into()),
        ("far", place.path().join("secret")),
        ("up", "..".into()),
    ] {
        symlink(target, place.path().join("public").join(name)).unwrap();
    }
    let fifo = place.at("public/fifo");
    assert!(Command::new("mkfifo").arg(fifo).status().unwrap().success());
    symlink("/dev/zero", place.at("public/zero")).unwrap();
    let thrust = with_public(&place).start();
    for target in [
        "/.env",
        "/%2eenv",
        "/.well-known/a",
        "/a/.git/config",
        "/a/%2Egit/config",
        "/a%2f.git%2fconfig",
        "/out",
        "/far",
        "/up/secret",
        "/../secret",
        "/a/../../secret",
        "/%2e%2e/secret",
        "/..%2fsecret",
        "/%2e%2e%2fsecret",
        "/%2fetc/passwd",
        "/a/b%00",
        "/fifo",
        "/zero",
        "/a",
        &format!("/{}", "a".repeat(300)),
        &format!("/{}", "a/".repeat(3_000)),
    ] {
        assert!(is_the_app_s(&thrust.get(target)), "{target}");
    }
}

#[test]
fn the_best_sibling_that_the_client_takes_is_sent() {
    let place = Place::new();
    for name in [
        "app.js",
        "app.js.gz",
        "app.js.br",
        "app.js.zst",
        "some.css",
        "some.css.gz",
        "a.png",
        "a.png.gz",
        "only.js.gz",
    ] {
        place.file(&format!("public/{name}"), name);
    }
    let thrust = with_public(&place)
        .env("GZIP_COMPRESSION_ENABLED", "0")
        .start();
    let ask = |target: &str, codings: &str| {
        ask(
            &thrust,
            "GET",
            target,
            &format!("accept-encoding: {codings}\r\n"),
        )
    };
    for (target, codings, expected, coding) in [
        ("/app.js", "gzip, br, zstd", "app.js.zst", "zstd"),
        ("/app.js", "gzip, br", "app.js.br", "br"),
        ("/app.js", "gzip", "app.js.gz", "gzip"),
        ("/app.js", "gzip, br;q=0.5, zstd;q=0", "app.js.gz", "gzip"),
        ("/app.js", "identity", "app.js", ""),
        ("/app.js", "", "app.js", ""),
        ("/some.css", "zstd, br, gzip;q=0.1", "some.css.gz", "gzip"),
        ("/some.css", "zstd, br", "some.css", ""),
    ] {
        let response = ask(target, codings);
        assert_eq!(
            (
                response.text().as_str(),
                field(&response, "content-encoding").as_str()
            ),
            (expected, coding),
            "{codings}"
        );
        assert!(field(&response, "content-type").starts_with("text/"));
        assert!(
            field(&response, "vary")
                .to_lowercase()
                .contains("accept-encoding")
        );
    }
    assert_eq!(
        ask("/a.png", "gzip").text(),
        "a.png",
        "nothing is gained there"
    );
    assert!(is_the_app_s(&ask("/only.js", "gzip")));
    let tags = ["gzip", "br", ""].map(|codings| field(&ask("/app.js", codings), "etag"));
    assert!(tags[0] != tags[1] && tags[1] != tags[2] && tags[0] != tags[2]);
    let fresh = self::ask(
        &thrust,
        "GET",
        "/app.js",
        &format!("accept-encoding: br\r\nif-none-match: {}\r\n", tags[1]),
    );
    assert_eq!(
        (fresh.status, field(&fresh, "vary").is_empty()),
        (304, false)
    );
    let part = self::ask(
        &thrust,
        "GET",
        "/app.js",
        "accept-encoding: br\r\nrange: bytes=4-\r\n",
    );
    assert_eq!((part.status, part.text().as_str()), (206, "js"));
    assert_eq!(part.field("content-encoding"), None);
}

#[test]
fn a_digest_in_its_name_makes_a_file_immutable() {
    let place = Place::new();
    let thrust = with_public(&place).start();
    let digest = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    for (name, expected) in [
        (
            "assets/app-0f3c9a1b.js".to_owned(),
            "public, max-age=31536000, immutable",
        ),
        (
            format!("assets/app-{digest}.css"),
            "public, max-age=31536000, immutable",
        ),
        (
            "vite/assets/index-DdoQ4xTf.js".to_owned(),
            "public, max-age=31536000, immutable",
        ),
        ("assets/photo-iphone12.jpg".to_owned(), "no-cache"),
        ("favicon.ico".to_owned(), "no-cache"),
        ("my-document.pdf".to_owned(), "no-cache"),
        ("report-20241231.pdf".to_owned(), "no-cache"),
    ] {
        place.file(&format!("public/{name}"), &name);
        let response = thrust.get(&format!("/{name}"));
        assert_eq!(
            (response.text(), field(&response, "cache-control")),
            (name, expected.to_owned())
        );
    }
}

#[test]
fn public_files_have_conditions_and_ranges() {
    let place = Place::new();
    let contents = noise(500_000);
    place.file("public/a.bin", &contents);
    let thrust = with_public(&place).start();
    let whole = thrust.get("/a.bin");
    assert!(whole.body == contents);
    let (tag, date) = (field(&whole, "etag"), field(&whole, "last-modified"));
    assert_eq!(
        ask(
            &thrust,
            "GET",
            "/a.bin",
            &format!("if-none-match: {tag}\r\n")
        )
        .status,
        304
    );
    assert_eq!(
        ask(
            &thrust,
            "GET",
            "/a.bin",
            &format!("if-modified-since: {date}\r\n")
        )
        .status,
        304
    );
    let part = ask(&thrust, "GET", "/a.bin", "range: bytes=100000-399999\r\n");
    assert!(part.status == 206 && part.body == contents[100_000..400_000]);
    assert_eq!(
        ask(&thrust, "GET", "/a.bin", "range: bytes=500000-\r\n").status,
        416
    );
}

#[test]
fn a_deployment_may_put_another_directory_in_its_place() {
    let place = Place::new();
    place.file("one/a.txt", "one");
    place.file("two/a.txt", "two");
    symlink("one", place.at("public")).unwrap();
    let thrust = with_public(&place).start();
    assert_eq!(thrust.get("/a.txt").text(), "one");
    symlink("two", place.at("next")).unwrap();
    fs::rename(place.at("next"), place.at("public")).unwrap();
    assert!(eventually(PATIENCE, || thrust.get("/a.txt").text() == "two"));
    fs::remove_file(place.at("public")).unwrap();
    assert!(eventually(PATIENCE, || is_the_app_s(&thrust.get("/a.txt"))));
}

#[test]
fn our_own_errors_have_the_pages_of_public_path() {
    let place = Place::new();
    for status in [404, 500, 503, 504] {
        place.file(
            &format!("public/{status}.html"),
            format!("<h1>{status}</h1>"),
        );
    }
    let builder = with_public(&place).env("THRUSTER_UPSTREAM_RESPONSE_TIMEOUT", "1");
    let thrust = builder.start();
    let late = thrust.get("/hang");
    assert_eq!((late.status, late.text().as_str()), (504, "<h1>504</h1>"));
    assert_eq!(field(&late, "content-type"), "text/html");
    let missing = ask(
        &thrust,
        "GET",
        "/named",
        "answer: x-sendfile: /no/such/file\r\n",
    );
    assert_eq!(
        (missing.status, missing.text().as_str()),
        (404, "<h1>404</h1>")
    );
    assert!(is_the_app_s(&thrust.get("/nothing")), "its own stay");
    place.file("public/504.html", "another");
    assert_eq!(thrust.get("/hang").text(), "another");
    fs::remove_file(place.at("public/504.html")).unwrap();
    assert_eq!(
        thrust.get("/hang").text(),
        "The app did not answer in time.\n"
    );
    let mut thrust = with_public(&place).start();
    let mut waiting = thrust.wait_at_gate("never");
    thrust.signal(Signal::SIGTERM);
    thrust.wait_for("draining");
    thrust.tell_app("/crash");
    let gone = waiting.response();
    assert_eq!((gone.status, gone.text().as_str()), (503, "<h1>503</h1>"));
    assert!(!field(&gone, "retry-after").is_empty());
    thrust.wait_exit(PATIENCE);
}
