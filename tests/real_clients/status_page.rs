//! The status page in a real browser, before, during and after a drain.
//!
//! The pictures are left in target/tmp/status-page, for people.

use std::{fs, path::Path};

use nix::sys::signal::Signal;

use crate::{
    chromium::Home,
    devtools::Page,
    support::{
        PATIENCE, Thrust, alone,
        status::{json, status_port, watched},
    },
    tool,
};

const CHROMIUM: &[(&str, &str)] = &[("chromium", "chromium")];

/// Width and height of a desk's screen and of a phone's, in CSS pixels.
const SIZES: [(&str, u32, u32); 2] = [("desk", 1280, 900), ("phone", 390, 844)];

#[test]
fn it_tells_of_a_drain_before_during_and_after() {
    if !tool::are_here(CHROMIUM) {
        return;
    }
    let _alone = alone();
    let home = Home::new("status");
    let mut thrust = watched()
        .env("HTTP_DRAIN_TIMEOUT", "20")
        .app(["--on-term", "exit-after=2"])
        .start();
    let mut visit = Visit::to(&thrust, &home);
    visit.before(&thrust);
    visit.clicks();
    visit.during_and_after(&mut thrust);
    visit.was_quiet(&thrust);
}

#[test]
fn it_finds_the_successor_of_who_has_stopped_and_of_who_was_killed() {
    if !tool::are_here(CHROMIUM) {
        return;
    }
    let _alone = alone();
    let home = Home::new("successor");
    let mut first = watched().start();
    let port = status_port(&first);
    let successor = || {
        let builder = Thrust::builder().env("THRUSTER_STATUS_PORT", port.to_string());
        builder.start()
    };
    let mut page = Page::open(&format!("http://127.0.0.1:{port}/"), &home.0);
    shows(&mut page, &first);
    assert_eq!(first.stop(), 143);
    page.wait_until(&is("word", "stopped"));

    let mut second = successor();
    shows(&mut page, &second);
    second.signal(Signal::SIGKILL);
    second.wait_status(PATIENCE);
    page.wait_until(&is("live", "connection lost, trying again"));
    assert_eq!(page.text("verdict"), "last known");

    let mut third = successor();
    shows(&mut page, &third);
    assert_eq!(page.text("verdict"), "ready");
    assert_eq!(third.stop(), 143);
}

/// Waits until the page is about this one.
fn shows(page: &mut Page, thrust: &Thrust) {
    page.wait_until(&is("live", "live"));
    page.wait_until(&is("word", "serving"));
    let pid = thrust.pid();
    let table = "document.getElementById('process').innerText";
    page.wait_until(&format!("{table}.split(/\\s/).includes('{pid}')"));
}

/// One look at the page.
struct Visit {
    page: Page,
    origin: String,
}

impl Visit {
    fn to(thrust: &Thrust, home: &Home) -> Self {
        let origin = format!("http://127.0.0.1:{}/", status_port(thrust));
        Visit {
            page: Page::open(&origin, &home.0),
            origin,
        }
    }

    fn before(&mut self, thrust: &Thrust) {
        let page = &mut self.page;
        page.wait_until(&is("word", "serving"));
        assert_eq!(page.text("verdict"), "ready");
        assert_eq!(page.evaluate("document.title"), "serving – Thrust");
        let mut client = thrust.connect();
        for path in [
            "/own?n=3000",
            "/own?n=3000",
            "/slow?ms=20",
            "/status?code=404",
        ] {
            client.get(path);
        }
        assert_eq!(client.get("/close-without-answer").status, 502);
        page.wait_until("document.getElementById('answers-total').innerText === '5 in all'");
        assert_eq!(json(thrust, "/status.json")["traffic"]["requests"], 5);
        assert!(page.text("causes").contains("upstream closed"));
        assert!(
            page.text("cache-big").starts_with("20.0 % hit ratio"),
            "{}",
            page.text("cache-big")
        );
        let puma = "STATUS=Puma%207.0.1:%20worker:%20{%204/5%20threads,%202%20available,%209%20backlog%20}";
        client.get(&format!("/notify?say={puma}"));
        page.wait_until("document.getElementById('puma-big').innerText.startsWith('3 of 5')");
        // The first points of the charts.
        page.wait_until("document.querySelectorAll('#rate polyline, #rate circle').length > 0");
        page.wait_until(
            "document.querySelectorAll('#latency polyline, #latency circle').length >= 3",
        );
        let process = page.text("app");
        assert!(
            process.contains(&thrust.child_pid().to_string()),
            "{process}"
        );
        self.pictures("before");
    }

    fn clicks(&mut self) {
        let page = &mut self.page;
        page.resize(1280, 900);
        page.prefer("dark");
        let background = "getComputedStyle(document.body).backgroundColor";
        let dark = page.evaluate(background);
        for (theme, is_dark) in [("dark", true), ("light", false), ("auto", true)] {
            page.click("#theme");
            assert_eq!(page.text("theme"), format!("Theme: {theme}"));
            assert_eq!(page.evaluate(background) == dark, is_dark, "{theme}");
        }
        page.click("#range-5");
        assert_eq!(pressed(page, "range-5"), "true");
        assert_eq!(pressed(page, "range-15"), "false");
        page.hover("#rate");
        page.wait_until("!document.querySelector('#rate .tip').hidden");
        let tip = page.evaluate("document.querySelector('#rate .tip').innerText");
        assert!(tip.as_str().unwrap().contains("/s"), "{tip}");

        let shown = "document.getElementById('config').checkVisibility()";
        assert_eq!(page.evaluate(shown), false);
        page.click("#config-panel summary");
        page.wait_until(shown);
        let rows = "document.querySelectorAll('#config tr').length";
        assert!(page.evaluate(rows).as_u64() > Some(40));
        page.click("#config-find");
        page.type_text("drain");
        assert_eq!(page.evaluate(rows), 2);
        page.click("#config-set");
        assert_eq!(page.evaluate(rows), 1);
        let set = page.text("config");
        assert!(
            set.contains("HTTP_DRAIN_TIMEOUT") && set.contains("20"),
            "{set}"
        );
    }

    fn during_and_after(&mut self, thrust: &mut Thrust) {
        let mut held = thrust.wait_at_gate("g");
        thrust.signal(Signal::SIGTERM);
        let page = &mut self.page;
        page.wait_until(&is("word", "draining"));
        assert_eq!(page.text("verdict"), "not ready");
        let stop = page.text("stop-text");
        assert!(
            stop.contains("SIGTERM came") && stop.contains("Waiting for 1 request"),
            "{stop}"
        );
        self.pictures("during");
        thrust.open_gate("g");
        assert_eq!(held.response().status, 200);
        let page = &mut self.page;
        page.wait_until(&is("word", "stopping"));
        assert_eq!(thrust.wait_exit(PATIENCE), 143);
        page.wait_until(&is("word", "stopped"));
        assert_eq!(page.text("verdict"), "exit code 143");
        assert_eq!(page.text("live"), "stopped");
        assert_eq!(page.evaluate("document.title"), "● stopped – Thrust");
        assert!(page.text("stop-text").contains("was killed by SIGTERM"));
        self.pictures("after");
    }

    /// In both sizes and both schemes; nothing juts out to the right in any.
    fn pictures(&mut self, when: &str) {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("status-page");
        fs::create_dir_all(&directory).unwrap();
        let mut backgrounds = Vec::new();
        for (size, width, height) in SIZES {
            for scheme in ["dark", "light"] {
                self.page.resize(width, height);
                self.page.prefer(scheme);
                // The charts are drawn anew in their new width.
                self.page.wait_until(
                    "document.querySelector('#rate svg').viewBox.baseVal.width === document.getElementById('rate').clientWidth",
                );
                let wide = self.page.evaluate("document.documentElement.scrollWidth");
                assert_eq!(wide, width, "{size} {scheme}: it juts out");
                let background = "getComputedStyle(document.body).backgroundColor";
                backgrounds.push(self.page.evaluate(background));
                let picture = self.page.screenshot();
                assert!(picture.starts_with(b"\x89PNG") && picture.len() > 10_000);
                fs::write(
                    directory.join(format!("{when}-{size}-{scheme}.png")),
                    picture,
                )
                .unwrap();
            }
        }
        assert_ne!(backgrounds[0], backgrounds[1], "dark and light");
        assert_eq!(backgrounds[..2], backgrounds[2..]);
    }

    /// Nothing went wrong, and nothing came from elsewhere.
    fn was_quiet(&self, _: &Thrust) {
        let asked = self.page.asked_for();
        let foreign: Vec<_> = asked
            .iter()
            .filter(|url| !url.starts_with(&self.origin) && !url.starts_with("data:"))
            .collect();
        assert!(asked.len() >= 3 && foreign.is_empty(), "{asked:?}");
        // But for the last question, whether there is a successor: nobody was there.
        let complaints = self.page.complaints();
        let complaints: Vec<_> = complaints
            .iter()
            .filter(|event| !event.to_string().contains("/livez"))
            .collect();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}

fn is(id: &str, word: &str) -> String {
    format!("document.getElementById('{id}')?.textContent.trim() === '{word}'")
}

fn pressed(page: &mut Page, id: &str) -> String {
    let pressed = format!("document.getElementById('{id}').getAttribute('aria-pressed')");
    page.evaluate(&pressed)
        .as_str()
        .unwrap_or_default()
        .to_owned()
}
