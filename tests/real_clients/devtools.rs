//! A page in Chromium, remote-controlled: the DevTools protocol over a pair of pipes, one JSON text behind the other, each with
//! a NUL at its end.

use std::{
    io::{self, PipeReader, PipeWriter, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, RawFd},
        unix::process::CommandExt,
    },
    path::Path,
    process::Child,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::{chromium::command, support::kill_group};

/// A browser takes its time where others are at work.
const PATIENCE: Duration = Duration::from_secs(60);

/// An open page, and the browser around it, which ends with it.
pub(crate) struct Page {
    browser: Child,
    to: PipeWriter,
    from: PipeReader,
    /// Read and not yet used.
    buffer: Vec<u8>,
    session: Option<String>,
    asked: u64,
    events: Vec<Value>,
}

impl Page {
    /// Opens `url` with an empty profile below `home`.
    pub(crate) fn open(url: &str, home: &Path) -> Self {
        let (theirs_in, to) = io::pipe().unwrap();
        let (from, theirs_out) = io::pipe().unwrap();
        let mut command = command(home);
        command
            .arg("--remote-debugging-pipe")
            .arg("--hide-scrollbars");
        let (input, output) = (theirs_in.as_raw_fd(), theirs_out.as_raw_fd());
        // SAFETY: dup2 and fcntl are async-signal-safe.
        unsafe { command.pre_exec(move || place(input, output)) };
        let mut page = Page {
            browser: command.spawn().expect("it is here"),
            to,
            from,
            buffer: Vec::new(),
            session: None,
            asked: 0,
            events: Vec::new(),
        };
        let target = page.call("Target.createTarget", json!({"url": "about:blank"}));
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = page.call("Target.attachToTarget", attach);
        page.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            page.call(&format!("{domain}.enable"), json!({}));
        }
        page.call("Page.navigate", json!({"url": url}));
        page
    }

    /// What this expression is, in the page.
    pub(crate) fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.call("Runtime.evaluate", asked);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{expression}");
        answer["result"]["value"].clone()
    }

    /// Waits until this expression is true.
    #[track_caller]
    pub(crate) fn wait_until(&mut self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        while self.evaluate(expression) != true {
            if Instant::now() > end {
                let text = self.evaluate("document.body.innerText");
                panic!("not {expression} in\n{}", text.as_str().unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// The text of the element with this id.
    pub(crate) fn text(&mut self, id: &str) -> String {
        let text = self.evaluate(&format!("document.getElementById('{id}').innerText"));
        text.as_str().unwrap_or_default().to_owned()
    }

    /// Moves the mouse over the middle of an element, which is scrolled to.
    pub(crate) fn hover(&mut self, selector: &str) -> (f64, f64) {
        let place = self.evaluate(&format!(
            "(() => {{ const node = document.querySelector('{selector}');
              node.scrollIntoView({{ block: 'center', behavior: 'instant' }});
              const box = node.getBoundingClientRect();
              return [box.x + box.width / 2, box.y + box.height / 2]; }})()"
        ));
        let at = |index: usize| place[index].as_f64().unwrap();
        self.mouse("mouseMoved", (at(0), at(1)));
        (at(0), at(1))
    }

    /// Clicks on the middle of an element, as a hand would.
    pub(crate) fn click(&mut self, selector: &str) {
        let at = self.hover(selector);
        self.mouse("mousePressed", at);
        self.mouse("mouseReleased", at);
    }

    fn mouse(&mut self, kind: &str, (x, y): (f64, f64)) {
        let button = if kind == "mouseMoved" { "none" } else { "left" };
        let event = json!({"type": kind, "x": x, "y": y, "button": button, "clickCount": 1});
        self.call("Input.dispatchMouseEvent", event);
    }

    /// Types into whatever has the focus.
    pub(crate) fn type_text(&mut self, text: &str) {
        self.call("Input.insertText", json!({"text": text}));
    }

    /// The window's size in CSS pixels.
    pub(crate) fn resize(&mut self, width: u32, height: u32) {
        let phone = width < 600;
        let size =
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone});
        self.call("Emulation.setDeviceMetricsOverride", size);
    }

    /// `dark` or `light`, as the system would have it.
    pub(crate) fn prefer(&mut self, scheme: &str) {
        let feature = json!([{"name": "prefers-color-scheme", "value": scheme}]);
        self.call("Emulation.setEmulatedMedia", json!({"features": feature}));
    }

    /// A picture of the whole page, as PNG.
    pub(crate) fn screenshot(&mut self) -> Vec<u8> {
        let asked = json!({"format": "png", "captureBeyondViewport": true});
        let taken = self.call("Page.captureScreenshot", asked);
        STANDARD.decode(taken["data"].as_str().unwrap()).unwrap()
    }

    /// What the browser has found wrong: errors of scripts, and what the page's policy has kept it from.
    pub(crate) fn complaints(&self) -> Vec<&Value> {
        let methods = [
            "Runtime.exceptionThrown",
            "Runtime.consoleAPICalled",
            "Log.entryAdded",
        ];
        let events = self.events.iter();
        events
            .filter(|event| methods.iter().any(|method| event["method"] == *method))
            .collect()
    }

    /// Every URL that it has asked for.
    pub(crate) fn asked_for(&self) -> Vec<&str> {
        let events = self.events.iter();
        events
            .filter(|event| event["method"] == "Network.requestWillBeSent")
            .filter_map(|event| event["params"]["request"]["url"].as_str())
            .collect()
    }

    fn call(&mut self, method: &str, params: impl Into<Value>) -> Value {
        self.asked += 1;
        let mut message = json!({"id": self.asked, "method": method, "params": params.into()});
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.to
            .write_all(format!("{message}\0").as_bytes())
            .unwrap();
        loop {
            let mut heard = self.hear();
            if heard["id"] == self.asked {
                assert_eq!(heard["error"], Value::Null, "{method}");
                return heard["result"].take();
            }
            self.events.push(heard);
        }
    }

    fn hear(&mut self) -> Value {
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == 0) {
                let message: Vec<_> = self.buffer.drain(..=end).collect();
                return serde_json::from_slice(&message[..end]).unwrap();
            }
            let mut ready = [PollFd::new(self.from.as_fd(), PollFlags::POLLIN)];
            let timeout = PollTimeout::try_from(PATIENCE).unwrap();
            assert_eq!(poll(&mut ready, timeout), Ok(1), "the browser says nothing");
            let mut piece = vec![0; 64 * 1024];
            let length = self.from.read(&mut piece).unwrap();
            assert!(length > 0, "the browser is gone");
            self.buffer.extend_from_slice(&piece[..length]);
        }
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        kill_group(self.browser.id(), libc::SIGKILL);
        let _ = self.browser.wait();
    }
}

/// In the child: the descriptors 3 and 4, where the browser looks for them. By way of others, since these may be in use.
fn place(input: RawFd, output: RawFd) -> io::Result<()> {
    // SAFETY: fcntl and dup2 take integers.
    unsafe {
        let input = libc::fcntl(input, libc::F_DUPFD, 20);
        let output = libc::fcntl(output, libc::F_DUPFD, 20);
        if input < 0 || output < 0 || libc::dup2(input, 3) < 0 || libc::dup2(output, 4) < 0 {
            return Err(io::Error::last_os_error());
        }
        libc::close(input);
        libc::close(output);
    }
    Ok(())
}
