//! Lines that stand for whole cases.

use crate::{
    case::{Answer, Case, Request, Step},
    expected::{Body, Check, Expected},
    parse,
};

/// The cases of a table, each named after the table and its line.
pub(crate) fn cases(name: &str, block: &[(usize, String)]) -> Vec<Case> {
    let mut before = Before::default();
    let mut cases = Vec::new();
    for (number, line) in block {
        let Some(mut steps) = before.steps(line) else {
            continue;
        };
        for step in &mut steps {
            step.line = *number;
        }
        cases.push(Case {
            name: format!("{name}: {line}"),
            steps,
        });
    }
    cases
}

/// What the lines above have laid down.
#[derive(Default)]
struct Before {
    answer: Answer,
    /// Whether it is in the store when the request comes.
    given: bool,
}

impl Before {
    /// What a line means; none where it is about the lines below it.
    fn steps(&mut self, line: &str) -> Option<Vec<Step>> {
        if let Some((request, expected)) = line.split_once("=>") {
            return Some(self.asked(parse::request(request), parse::expected(expected)));
        }
        let (word, rest) = line.split_once(':').unwrap_or((line, ""));
        let answer = parse::answer(rest);
        match word {
            "given" | "from" => {
                self.answer = answer;
                self.given = word == "given";
                None
            }
            "stored" => Some(stored(&answer)),
            "unstored" => Some(unstored(&answer)),
            "again" => Some(vec![primed(&answer), asked(&answer)]),
            "coded" => Some(vec![coded(&answer)]),
            "plain" => Some(vec![plain(&answer)]),
            _ => panic!("no line of a table: {line}"),
        }
    }

    fn asked(&self, request: Request, mut expected: Expected) -> Vec<Step> {
        let mut step = Step {
            request,
            ..Step::default()
        };
        if expected.asks || !self.given {
            step.answers.push(self.answer.clone());
        }
        if expected.asks && expected.cache.is_empty() {
            expected.cache = asked_for();
        }
        step.expected.push(expected);
        if self.given {
            return vec![primed(&self.answer), step];
        }
        vec![step]
    }
}

/// What X-Cache says when the answer is the app's.
fn asked_for() -> Vec<String> {
    ["miss", "bypass", "revalidated"].map(str::to_owned).into()
}

fn requested(answer: &Answer) -> Request {
    Request {
        fields: answer.request.clone(),
        ..Request::default()
    }
}

fn expected(answer: &Answer) -> Expected {
    Expected {
        status: answer.status,
        ..Expected::default()
    }
}

/// The app is asked, whatever it is asked with.
fn asked(answer: &Answer) -> Step {
    Step {
        request: requested(answer),
        answers: vec![answer.clone()],
        expected: vec![Expected {
            cache: asked_for(),
            ..expected(answer)
        }],
        ..Step::default()
    }
}

/// The first time.
fn primed(answer: &Answer) -> Step {
    asked(answer)
}

fn stored(answer: &Answer) -> Vec<Step> {
    let again = Step {
        request: requested(answer),
        expected: vec![Expected {
            cache: vec!["hit".into()],
            body: (!matches!(answer.status, 204 | 304)).then_some(Body::Nth(1)),
            ..expected(answer)
        }],
        ..Step::default()
    };
    vec![primed(answer), again]
}

fn unstored(answer: &Answer) -> Vec<Step> {
    let mut again = asked(answer);
    again.sent = ["If-None-Match", "If-Modified-Since"]
        .map(|name| Check::Absent(name.into()))
        .into();
    vec![primed(answer), again]
}

/// Long enough to be worth coding.
fn with_long_body(answer: &Answer) -> Answer {
    let mut answer = answer.clone();
    let fallback = || "a few words, again and again\n".repeat(100).into_bytes();
    answer.body = Some(answer.body.unwrap_or_else(fallback));
    answer
}

fn sent_to_gzip(answer: &Answer, checks: Vec<Check>) -> Step {
    let mut step = asked(&with_long_body(answer));
    let takes_gzip = ("Accept-Encoding".to_owned(), "gzip".to_owned());
    step.request.fields.push(takes_gzip);
    step.expected[0].cache.clear();
    step.expected[0].checks = checks;
    step.expected[0].body = Some(Body::Nth(1));
    step
}

fn coded(answer: &Answer) -> Step {
    let checks = vec![
        Check::Is("Content-Encoding".into(), "gzip".into()),
        Check::Contains("Vary".into(), "accept-encoding".into()),
        Check::Absent("Accept-Ranges".into()),
    ];
    sent_to_gzip(answer, checks)
}

fn plain(answer: &Answer) -> Step {
    sent_to_gzip(answer, vec![Check::Absent("Content-Encoding".into())])
}
