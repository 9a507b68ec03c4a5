//! A case is what a client says and what must come of it.

use std::time::Duration;

use crate::{
    deviations,
    server::Server,
    wire::{Code, Connection, End, Event, Fields, Frame, PROTOCOL_ERROR, headers},
};

/// How long a case watches for what must not come.
const QUIET: Duration = Duration::from_millis(200);

/// The stream of the request with which a case sees that the connection goes on.
const NEXT: u32 = 1_000_001;

type Check = fn(&mut Connection) -> Result<(), String>;

#[derive(Debug)]
enum Step {
    Send(Frame),
    Bytes(Vec<u8>),
    /// Hears this stream to its end.
    Finish(u32),
    Do(Check),
}

#[derive(Debug)]
enum Verdict {
    /// GOAWAY with one of these, and the end.
    Ends(&'static [Code]),
    /// The end, whatever is said before: where there is no HTTP/2 yet.
    Closes,
    /// RST_STREAM with one of these, and the connection goes on.
    Resets(u32, &'static [Code]),
    /// Either of the two, where the RFC leaves the choice.
    ResetsOrEnds(u32, &'static [Code]),
    /// A malformed request: RST_STREAM with PROTOCOL_ERROR or a 4xx (RFC 9113 section 8.1.1), and the connection goes on.
    Refuses(u32),
    /// One of the two above, or it passes unnoticed; but no (further) response.
    Discards(u32, &'static [Code]),
    /// 200, and the connection goes on.
    Serves(u32),
    /// Nothing happens, and the connection goes on.
    GoesOn,
    /// As checked.
    Holds(Check),
}

/// Begun with [`case`].
#[derive(Debug)]
pub(crate) struct Case {
    name: &'static str,
    settings: Vec<(u16, u32)>,
    /// Whether the preface and SETTINGS go before, and the answers are awaited.
    begins: bool,
    steps: Vec<Step>,
    verdict: Verdict,
}

/// `9113-6.1 what is said`
pub(crate) fn case(name: &'static str) -> Case {
    Case {
        name,
        settings: Vec::new(),
        begins: true,
        steps: Vec::new(),
        verdict: Verdict::GoesOn,
    }
}

impl Case {
    /// With these SETTINGS to begin with.
    pub(crate) fn settings(mut self, values: &[(u16, u32)]) -> Self {
        self.settings = values.to_vec();
        self
    }

    /// Without a word before the first step.
    pub(crate) fn silently(mut self) -> Self {
        self.begins = false;
        self
    }

    pub(crate) fn send(self, frame: Frame) -> Self {
        self.step(Step::Send(frame))
    }

    pub(crate) fn bytes(self, bytes: impl Into<Vec<u8>>) -> Self {
        self.step(Step::Bytes(bytes.into()))
    }

    pub(crate) fn finish(self, stream: u32) -> Self {
        self.step(Step::Finish(stream))
    }

    /// Whatever frames do not say.
    pub(crate) fn perform(self, what: Check) -> Self {
        self.step(Step::Do(what))
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }

    pub(crate) fn ends(self, codes: &'static [Code]) -> Self {
        self.verdict(Verdict::Ends(codes))
    }

    pub(crate) fn closes(self) -> Self {
        self.verdict(Verdict::Closes)
    }

    pub(crate) fn resets(self, stream: u32, codes: &'static [Code]) -> Self {
        self.verdict(Verdict::Resets(stream, codes))
    }

    pub(crate) fn resets_or_ends(self, stream: u32, codes: &'static [Code]) -> Self {
        self.verdict(Verdict::ResetsOrEnds(stream, codes))
    }

    pub(crate) fn refuses(self, stream: u32) -> Self {
        self.verdict(Verdict::Refuses(stream))
    }

    pub(crate) fn discards(self, stream: u32, codes: &'static [Code]) -> Self {
        self.verdict(Verdict::Discards(stream, codes))
    }

    pub(crate) fn serves(self, stream: u32) -> Self {
        self.verdict(Verdict::Serves(stream))
    }

    pub(crate) fn goes_on(self) -> Self {
        self.verdict(Verdict::GoesOn)
    }

    pub(crate) fn holds(self, check: Check) -> Self {
        self.verdict(Verdict::Holds(check))
    }

    fn verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    fn run(&self, server: &Server) -> Result<(), String> {
        let mut connection = server.open();
        let outcome = self
            .speak(&mut connection)
            .and_then(|()| self.judge(&mut connection));
        let outcome = match deviations::names(self.name) && server.is_thrust() {
            true => deviates(&mut connection, &outcome),
            false => outcome,
        };
        outcome.map_err(|wrong| {
            let Case { name, .. } = self;
            format!("{name}: {wrong}\n    heard {connection:?}")
        })
    }

    fn speak(&self, connection: &mut Connection) -> Result<(), String> {
        if self.begins {
            let begun = connection.begin(&self.settings);
            begun.map_err(|end| format!("{end:?} before both sides' SETTINGS"))?;
        }
        for step in &self.steps {
            match step {
                Step::Send(frame) => connection.send(frame),
                // Whether it is still read, the verdict says.
                Step::Bytes(bytes) => drop(connection.write(bytes)),
                Step::Finish(stream) => finish(connection, *stream)?,
                Step::Do(what) => what(connection)?,
            }
        }
        Ok(())
    }

    fn judge(&self, connection: &mut Connection) -> Result<(), String> {
        match self.verdict {
            Verdict::Ends(codes) => ends(connection, codes),
            Verdict::Closes => closes(connection),
            Verdict::Resets(stream, codes) => {
                let is_right = matches!(said_of(connection, stream)?, Said::Reset(code) if codes.contains(&code));
                is_right
                    .then_some(())
                    .ok_or_else(|| format!("no RST_STREAM with {codes:?}"))?;
                goes_on(connection)
            }
            Verdict::ResetsOrEnds(stream, codes) => match said_of(connection, stream)? {
                Said::Reset(code) if codes.contains(&code) => goes_on(connection),
                Said::Goaway(code) if codes.contains(&code) => closes(connection),
                other => Err(format!("{other:?} and not {codes:?}")),
            },
            Verdict::Refuses(stream) => match said_of(connection, stream)? {
                Said::Reset(PROTOCOL_ERROR) | Said::Status(400..500) => goes_on(connection),
                other => Err(format!("{other:?} to a malformed request")),
            },
            Verdict::Discards(stream, codes) => discards(connection, stream, codes),
            Verdict::Serves(stream) => match said_of(connection, stream)? {
                Said::Status(200) => goes_on(connection),
                other => Err(format!("{other:?} and not 200")),
            },
            Verdict::GoesOn => goes_on(connection),
            Verdict::Holds(check) => check(connection),
        }
    }
}

/// Holds a row of the deviations to its word.
fn deviates(connection: &mut Connection, outcome: &Result<(), String>) -> Result<(), String> {
    match outcome {
        Ok(()) => Err("no deviation any more: its row can go".into()),
        Err(_) => ends(connection, &[PROTOCOL_ERROR]),
    }
}

/// What a server says to a stream first, or instead.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Status(u16),
    Reset(Code),
    Goaway(Code),
}

impl Said {
    fn by(event: &Event, wanted: u32) -> Option<Self> {
        match event {
            Event::Reset { stream, code } if *stream == wanted => Some(Said::Reset(*code)),
            Event::Goaway { code, .. } => Some(Said::Goaway(*code)),
            event => event.status(wanted).map(Said::Status),
        }
    }
}

fn said_of(connection: &mut Connection, stream: u32) -> Result<Said, String> {
    let event = connection.hear(|event| Said::by(event, stream).is_some());
    let event = event.map_err(|end| format!("{end:?}, and nothing to stream {stream}"))?;
    Ok(Said::by(&event, stream).expect("just seen"))
}

fn ends(connection: &mut Connection, codes: &[Code]) -> Result<(), String> {
    let goaway = connection.hear(|event| matches!(event, Event::Goaway { .. }));
    match goaway {
        Ok(Event::Goaway { code, .. }) if codes.contains(&code) => closes(connection),
        Ok(_) => Err(format!("another GOAWAY than {codes:?}")),
        Err(end) => Err(format!("{end:?} without a GOAWAY")),
    }
}

fn closes(connection: &mut Connection) -> Result<(), String> {
    match connection.end() {
        End::Timeout => Err("still open".into()),
        End::Eof | End::Reset | End::Malformed => Ok(()),
    }
}

fn discards(connection: &mut Connection, stream: u32, codes: &[Code]) -> Result<(), String> {
    let before = connection.heard.len();
    // The connection may end for it.
    let _ = connection.round_trip();
    let mut ended = false;
    for event in &connection.heard[before..] {
        match Said::by(event, stream) {
            None => {}
            Some(Said::Reset(code)) if codes.contains(&code) => {}
            Some(Said::Goaway(code)) if codes.contains(&code) => ended = true,
            Some(other) => return Err(format!("{other:?} and not {codes:?}")),
        }
    }
    if ended {
        return closes(connection);
    }
    goes_on(connection)?;
    let answers = connection
        .heard
        .iter()
        .filter(|event| event.status(stream).is_some())
        .count();
    (answers <= 1)
        .then_some(())
        .ok_or_else(|| "answered twice".into())
}

/// Another request is served on it.
pub(crate) fn goes_on(connection: &mut Connection) -> Result<(), String> {
    connection.send(&headers(NEXT, Fields::get("/hello")).end());
    match said_of(connection, NEXT)? {
        Said::Status(200) => Ok(()),
        other => Err(format!("{other:?} to the next request")),
    }
}

/// Hears a stream to its end.
pub(crate) fn finish(connection: &mut Connection, stream: u32) -> Result<(), String> {
    let ended = connection.hear(|event| event.ends(stream));
    ended
        .map(drop)
        .map_err(|end| format!("{end:?} before the end of stream {stream}"))
}

/// Nothing comes for a while that is as feared.
pub(crate) fn is_silent(
    connection: &mut Connection,
    feared: impl Fn(&Event) -> bool,
) -> Result<(), String> {
    let before = connection.heard.len();
    connection.listen(QUIET).map_err(|end| format!("{end:?}"))?;
    let found = connection.heard[before..]
        .iter()
        .find(|event| feared(event));
    found.map_or(Ok(()), |event| Err(format!("{event:?}")))
}

/// Runs them all, each on a connection of its own, and fails with a list of what was wrong.
#[track_caller]
pub(crate) fn run(cases: &[Case]) {
    let server = Server::start();
    let wrong: Vec<_> = cases
        .iter()
        .filter_map(|case| case.run(&server).err())
        .collect();
    assert!(
        wrong.is_empty(),
        "{} of {} cases:\n{}\n",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
    server.assert_unharmed();
}

/// A request that ends with its head.
pub(crate) fn get(stream: u32) -> Frame {
    headers(stream, Fields::get("/hello")).end()
}

/// A request that the app never answers.
pub(crate) fn hang(stream: u32) -> Frame {
    headers(stream, Fields::get("/hang")).end()
}

/// A request whose body is to come.
pub(crate) fn post(stream: u32) -> Frame {
    headers(stream, Fields::post("/upload"))
}
