//! One file: a Thrust, an origin, all cases.

use std::{
    env,
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    case::{Answer, Asking, Case, File, Framing, Step},
    expected::Expected,
    manners,
    origin::{Origin, Script},
    parse,
    support::{Client, Failure, PATIENCE, Response, Thrust, millis},
    variables::{self, Variables},
};

/// How many cases run beside each other.
const WORKERS: usize = 6;

/// Runs a file and fails with all that is wrong.
pub(crate) fn file(path: &Path) {
    let name = path.file_stem().unwrap().to_str().unwrap();
    let mut file = parse::file(&fs::read_to_string(path).unwrap());
    if let Ok(words) = env::var("CASE") {
        file.cases.retain(|case| case.name.contains(&words));
    }
    let failures = failures(name, &file);
    let (wrong, all) = (failures.len(), file.cases.len());
    println!("{name}: {all} cases");
    assert!(
        wrong == 0,
        "{wrong} of {all} cases\n\n{}",
        failures.join("\n")
    );
}

/// What is wrong with each case that fails.
pub(crate) fn failures(name: &str, file: &File) -> Vec<String> {
    let now = SystemTime::now();
    let directory = Directory::with(name, file, now);
    let variables = Variables::new(now, "", &directory.0);
    let mut builder = Thrust::builder()
        .tcp()
        .command(["sleep", "600"])
        .env("LOG_REQUESTS", "0");
    for (name, value) in &file.env {
        builder = builder.env(&format!("THRUSTER_{name}"), variables.expand(value));
    }
    let origin = Origin::on(builder.target_port().number());
    let thrust = builder.start();
    let place = Place {
        port: thrust.port(),
        origin: &origin,
        directory: &directory.0,
        now: (!file.files.is_empty()).then_some(now),
    };
    let workers = if file.alone { 1 } else { WORKERS };
    place.run(&file.cases, workers)
}

/// Where cases run.
#[derive(Clone, Copy)]
struct Place<'a> {
    port: u16,
    origin: &'a Origin,
    directory: &'a Path,
    /// What `now` is where there are files, whose times are counted from it; else the beginning of each case.
    now: Option<SystemTime>,
}

impl Place<'_> {
    fn run(&self, cases: &[Case], workers: usize) -> Vec<String> {
        let next = AtomicUsize::new(0);
        let failures = Mutex::new(Vec::new());
        let work = || {
            while let Some((number, case)) = next_of(cases, &next) {
                if let Err(failure) = self.case(number, case) {
                    failures.lock().unwrap().push((number, failure));
                }
            }
        };
        thread::scope(|scope| (0..workers).for_each(|_| drop(scope.spawn(work))));
        let mut failures = failures.into_inner().unwrap();
        failures.sort();
        failures.into_iter().map(|(_, failure)| failure).collect()
    }

    fn case(&self, number: usize, case: &Case) -> Result<(), String> {
        let host = format!("c{number}.test");
        let mut running = Running {
            place: *self,
            variables: Variables::new(
                self.now.unwrap_or_else(SystemTime::now),
                &host,
                self.directory,
            ),
            host,
        };
        for (place, step) in case.steps.iter().enumerate() {
            let failure = |why| {
                format!(
                    "{}\n  step {}, line {}: {why}\n",
                    case.name,
                    place + 1,
                    step.line
                )
            };
            running.step(step).map_err(failure)?;
        }
        Ok(())
    }
}

fn next_of<'a>(cases: &'a [Case], next: &AtomicUsize) -> Option<(usize, &'a Case)> {
    let number = next.fetch_add(1, SeqCst);
    cases.get(number).map(|case| (number, case))
}

impl Step {
    fn refuses(&self) -> bool {
        self.answers
            .iter()
            .any(|answer| answer.framing == Framing::Refused)
    }
}

/// A case on its way.
struct Running<'a> {
    place: Place<'a>,
    host: String,
    variables: Variables,
}

impl Running<'_> {
    fn step(&mut self, step: &Step) -> Result<(), String> {
        thread::sleep(Duration::from_secs_f64(step.wait));
        let origin = self.place.origin;
        if step.refuses() {
            origin.refuse();
        }
        origin.script(&self.host, self.answers(step));
        let ended = self.ask_until_good(step);
        if step.refuses() {
            origin.listen();
        }
        ended
    }

    fn ask_until_good(&mut self, step: &Step) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        loop {
            let response = self.ask(step);
            let verdict = self.verdict(step, &response);
            if verdict.is_ok() || !step.request.soon || Instant::now() > end {
                if let Ok(response) = &response {
                    self.variables.learn(&response.fields);
                }
                return verdict;
            }
            thread::sleep(millis(5));
            self.place.origin.forget(&self.host);
        }
    }

    /// The final answers, each with the 1xx before it, as they go over the wire.
    fn answers(&self, step: &Step) -> Vec<Answer> {
        let mut answers = Vec::new();
        let mut interim = Vec::new();
        for answer in &step.answers {
            let mut answer = answer.clone();
            for (_, value) in &mut answer.fields {
                *value = self.variables.expand(value);
            }
            if answer.framing == Framing::Refused {
                continue;
            } else if answer.status < 200 {
                interim.push(answer);
            } else {
                answer.interim = std::mem::take(&mut interim);
                answers.push(answer);
            }
        }
        answers
    }

    fn ask(&self, step: &Step) -> Result<Response, Failure> {
        let request = &step.request;
        let mut fields = String::new();
        if !request
            .fields
            .iter()
            .any(|(name, _)| name.eq_ignore_ascii_case("host"))
        {
            let _ = write!(fields, "host: {}\r\n", self.host);
        }
        for (name, value) in &request.fields {
            let _ = write!(fields, "{name}: {}\r\n", self.variables.expand(value));
        }
        if let Some(body) = &request.body {
            let _ = write!(fields, "content-length: {}\r\n", body.len());
        }
        let mut client = Client::connect(self.place.port);
        client.send_bare_head(
            &request.method,
            &self.variables.expand(&request.target),
            &fields,
        );
        client.send(request.body.as_deref().unwrap_or_default());
        client.try_response()
    }

    fn verdict(&self, step: &Step, response: &Result<Response, Failure>) -> Result<(), String> {
        let patience = if step.asking == Asking::Behind {
            PATIENCE
        } else {
            Duration::ZERO
        };
        self.place.origin.look(&self.host, patience, |script| {
            let judged = self.judged(step, response, script);
            judged.map_err(|why| why + &told(response, script))
        })
    }

    fn judged(
        &self,
        step: &Step,
        response: &Result<Response, Failure>,
        script: &Script,
    ) -> Result<(), String> {
        if let Some(surprise) = script.surprises.first() {
            return Err(format!(
                "the app was asked once too often: {}",
                surprise.line
            ));
        }
        if script.is_unfinished() && step.asking != Asking::Perhaps {
            return Err("the app was not asked".into());
        }
        for check in &step.sent {
            let sent = script.sent.last().ok_or("the app was sent nothing")?;
            check.verdict(sent, &self.variables)?;
        }
        self.received(&step.expected, response, script)
    }

    fn received(
        &self,
        expected: &[Expected],
        response: &Result<Response, Failure>,
        script: &Script,
    ) -> Result<(), String> {
        let Ok(response) = response else {
            let may_break = expected.iter().any(|expected| expected.status == 0);
            return may_break
                .then_some(())
                .ok_or("there is no whole response".into());
        };
        let body = response.decoded()?;
        manners::of(response, &body, script)?;
        let judge = |one: &Expected| one.verdict(response, &body, &script.given, &self.variables);
        let verdicts: Vec<_> = expected.iter().map(judge).collect();
        if verdicts.is_empty() || verdicts.iter().any(Result::is_ok) {
            return Ok(());
        }
        let reasons: Vec<_> = verdicts.into_iter().filter_map(Result::err).collect();
        Err(reasons.join("; nor the alternative: "))
    }
}

/// What was on both wires, for whoever reads of a failure.
fn told(response: &Result<Response, Failure>, script: &Script) -> String {
    let mut text = String::new();
    for sent in &script.sent {
        let _ = write!(text, "\n    the app saw {}", sent.line);
        list(&mut text, &sent.fields);
    }
    match response {
        Ok(response) => {
            let _ = write!(text, "\n    the client got {}", response.status);
            list(&mut text, &response.fields);
            let start = &response.body[..response.body.len().min(100)];
            let _ = write!(text, " {:?}", String::from_utf8_lossy(start));
        }
        Err(failure) => {
            let _ = write!(text, "\n    the client got {failure:?}");
        }
    }
    text
}

fn list(text: &mut String, fields: &[(String, String)]) {
    for (name, value) in fields {
        let _ = write!(text, " | {name}: {value}");
    }
}

/// The files of a file of cases, removed in the end.
struct Directory(PathBuf);

impl Directory {
    fn with(name: &str, file: &File, now: SystemTime) -> Self {
        let path = env::temp_dir().join(format!("thrust-cases-{}-{name}", process::id()));
        fs::create_dir_all(&path).unwrap();
        for (name, contents, modified) in &file.files {
            let path = path.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, contents).unwrap();
            let file = fs::File::options().append(true).open(&path).unwrap();
            file.set_modified(variables::time(now, modified).unwrap())
                .unwrap();
        }
        Self(path.canonicalize().unwrap())
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
