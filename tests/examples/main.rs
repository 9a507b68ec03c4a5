//! What examples/ promises of platforms: each is read, its sum is worked out, and the executable is given its variables.
//!
//! The sum is LIFECYCLE's M42: the grace period has room for the preStop hook, the delay, the drain, the app's own stop and
//! two seconds. YAML is read by Ruby, which is here for the tests of Rails; without it they skip, and fail with CI set.

/// Reads YAML.
mod yaml;

use std::{collections::BTreeMap, process::Command};

use serde_json::Value;
use yaml::{read, yaml};

/// What nobody counts, in seconds.
const MARGIN: u64 = 2;

/// How long a platform waits, and what it has to wait for.
#[derive(Debug)]
struct Example {
    path: &'static str,
    /// What its grace period is called there, if it can be set.
    setting: Option<&'static str>,
    /// In seconds.
    grace: u64,
    pre_stop: u64,
    environment: BTreeMap<String, String>,
}

impl Example {
    fn seconds(&self, variable: &str) -> u64 {
        let value = self.environment.get(variable);
        let seconds = value.map(|value| value.parse().expect("whole seconds"));
        seconds.unwrap_or(0)
    }

    fn needs(&self) -> u64 {
        let variables = [
            "HTTP_DRAIN_DELAY",
            "HTTP_DRAIN_TIMEOUT",
            "THRUSTER_UPSTREAM_STOP_TIMEOUT",
        ];
        let counted: u64 = variables
            .map(|variable| self.seconds(variable))
            .iter()
            .sum();
        self.pre_stop + counted + MARGIN
    }

    fn thrust(&self, further: &[(&str, String)]) -> (bool, String) {
        let output = Command::new(env!("CARGO_BIN_EXE_thrust"))
            .arg("--print-config")
            .env_clear()
            .envs(&self.environment)
            .envs(further.iter().map(|(name, value)| (name, value)))
            .output()
            .expect("thrust runs");
        let warned = String::from_utf8_lossy(&output.stdout);
        let warned = warned.lines().filter(|line| line.starts_with("warning: "));
        let refused = String::from_utf8_lossy(&output.stderr);
        let said = warned.chain(refused.lines()).collect::<Vec<_>>().join("\n");
        (output.status.success(), said)
    }
}

#[test]
fn every_grace_period_has_room_for_the_whole_stop() {
    for example in examples() {
        assert!(example.seconds("HTTP_DRAIN_TIMEOUT") > 0, "{example:?}");
        assert!(
            example.seconds("THRUSTER_UPSTREAM_STOP_TIMEOUT") > 0,
            "{example:?}"
        );
        assert!(example.grace >= example.needs(), "{example:?}");
    }
}

#[test]
fn the_executable_takes_their_variables_and_agrees_with_the_sum() {
    for example in examples() {
        let (took, said) = example.thrust(&[]);
        assert!(took && said.is_empty(), "{}: {said}", example.path);
        let time = example.grace - example.pre_stop;
        let told = [("THRUSTER_SHUTDOWN_TIMEOUT", time.to_string())];
        let (took, said) = example.thrust(&told);
        assert!(took, "{}: {said}", example.path);
    }
}

#[test]
fn the_sum_that_each_writes_down_is_its_own() {
    // JSON has no comments.
    let with_comments = |example: &Example| !example.path.ends_with(".json");
    for example in examples().into_iter().filter(with_comments) {
        let text = read(example.path);
        let start = text.find(" >= ").expect("a sum");
        let line_start = text[..start].rfind(['\n', ':']).map_or(0, |at| at + 1);
        let end = text[start..].find(" + 2").expect("a margin") + start;
        let sum = &text[line_start..end];
        let grace = match example.setting {
            Some(setting) => format!("{setting} {} >=", example.grace),
            None => format!(" {} >=", example.grace),
        };
        assert!(sum.contains(&grace), "{}: {sum}", example.path);
        let (_, terms) = sum.split_once(" >= ").expect("just found");
        let numbers = terms.split(' ').filter_map(|word| word.parse::<u64>().ok());
        let written: u64 = numbers.sum();
        assert_eq!(written + MARGIN, example.needs(), "{}: {sum}", example.path);
    }
}

#[test]
fn the_readme_suggests_what_the_examples_do() {
    let rows = [
        ("Kubernetes", "examples/kubernetes/deployment.yaml"),
        ("docker stop, Compose", "examples/compose/compose.yaml"),
        ("Kamal 2", "examples/kamal/deploy.yml"),
        ("ECS", "examples/ecs/task-definition.json"),
        ("systemd", "examples/systemd/thrust.service"),
        ("Heroku", "examples/heroku/app.json"),
        ("Fly", "examples/fly/fly.toml"),
        ("Cloud Run", "examples/cloud-run/service.yaml"),
    ];
    let (readme, examples) = (read("README.md"), examples());
    for (platform, path) in rows {
        let row = readme
            .lines()
            .find(|line| line.starts_with(&format!("| {platform} |")))
            .unwrap_or_else(|| panic!("no row for {platform}"));
        let Some(example) = examples.iter().find(|example| example.path == path) else {
            continue;
        };
        let suggested = row.rsplit('|').nth(1).expect("a last cell");
        let expected = match example.setting {
            Some(_) => example.grace.to_string(),
            None => format!(
                "HTTP_DRAIN_TIMEOUT={}",
                example.seconds("HTTP_DRAIN_TIMEOUT")
            ),
        };
        assert!(suggested.contains(&expected), "{expected}: {row}");
        let directory = path.rsplit_once('/').expect("a file in a directory").0;
        assert!(readme.contains(directory), "{directory} is not named");
    }
}

#[test]
fn the_readme_s_sums_for_kubernetes_hold() {
    let readme = read("README.md");
    let row = readme
        .lines()
        .find(|line| line.starts_with("| Kubernetes |"))
        .expect("a row");
    let after = |text: &str, word: &str| -> u64 {
        let (_, rest) = text
            .split_once(word)
            .unwrap_or_else(|| panic!("{word}: {text}"));
        let digits = rest.trim_start().chars().take_while(char::is_ascii_digit);
        digits.collect::<String>().parse().expect("a number")
    };
    let (longer, shorter) = row.rsplit_once("(with ").expect("two sums");
    let longer = longer.rsplit('|').next().expect("a cell");
    let sums = [(after(longer, ""), longer), (after(shorter, ""), shorter)];
    assert_eq!(sums.map(|(grace, _)| grace), [60, 30]);
    for (grace, terms) in sums {
        let needs: u64 = ["delay", "drain", "app"]
            .map(|word| after(terms, word))
            .iter()
            .sum();
        assert!(grace >= needs + MARGIN, "{terms}");
    }
}

#[test]
fn systemd_tells_us_first_and_listens_for_us() {
    let service = read("examples/systemd/thrust.service");
    for line in ["KillMode=mixed", "Type=notify", "SuccessExitStatus=143"] {
        assert!(service.lines().any(|found| found == line), "{line}");
    }
    let socket = read("examples/systemd/thrust.socket");
    assert_eq!(of_unit(&socket, "FileDescriptorName"), "http");
    assert_eq!(of_unit(&socket, "Service"), "thrust.service");
}

#[test]
fn probes_ask_the_status_port_and_the_service_does_not() {
    for path in [
        "examples/kubernetes/deployment.yaml",
        "examples/kubernetes/deployment-prestop.yaml",
    ] {
        let Some(documents) = yaml(path) else {
            return;
        };
        let container = &documents[0]["spec"]["template"]["spec"]["containers"][0];
        let environment = named(&container["env"]);
        for (probe, asked) in [
            ("startupProbe", "/startupz"),
            ("readinessProbe", "/readyz"),
            ("livenessProbe", "/livez"),
        ] {
            let get = &container[probe]["httpGet"];
            assert_eq!(get["path"], asked);
            assert_eq!(
                get["port"].to_string(),
                environment["THRUSTER_STATUS_PORT"],
                "{path}"
            );
        }
        let http = &container["ports"][0];
        assert_eq!(http["containerPort"].to_string(), environment["HTTP_PORT"]);
        if documents.len() > 1 {
            assert_eq!(documents[1]["spec"]["ports"][0]["targetPort"], http["name"]);
        }
    }
}

/// All of them; without Ruby those that are no YAML.
fn examples() -> Vec<Example> {
    let of_yaml = [
        kubernetes("examples/kubernetes/deployment.yaml"),
        kubernetes("examples/kubernetes/deployment-prestop.yaml"),
        compose(),
        kamal(),
        cloud_run(),
    ];
    let others = [systemd(), fly(), heroku(), ecs()];
    of_yaml.into_iter().flatten().chain(others).collect()
}

fn kubernetes(path: &'static str) -> Option<Example> {
    let deployment = &yaml(path)?[0];
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let hook = &container["lifecycle"]["preStop"];
    Some(Example {
        path,
        setting: Some("terminationGracePeriodSeconds"),
        grace: number(&pod["terminationGracePeriodSeconds"]),
        pre_stop: hook["sleep"]["seconds"].as_u64().unwrap_or(0),
        environment: named(&container["env"]),
    })
}

fn compose() -> Option<Example> {
    let path = "examples/compose/compose.yaml";
    let web = &yaml(path)?[0]["services"]["web"];
    let grace = web["stop_grace_period"].as_str().expect("a duration");
    Some(Example {
        path,
        setting: Some("stop_grace_period"),
        grace: grace
            .strip_suffix('s')
            .expect("in seconds")
            .parse()
            .expect("whole"),
        pre_stop: 0,
        environment: plain(&web["environment"]),
    })
}

fn kamal() -> Option<Example> {
    let path = "examples/kamal/deploy.yml";
    let deploy = &yaml(path)?[0];
    Some(Example {
        path,
        setting: Some("stop_timeout"),
        grace: number(&deploy["stop_timeout"]),
        pre_stop: 0,
        environment: plain(&deploy["env"]["clear"]),
    })
}

fn cloud_run() -> Option<Example> {
    let path = "examples/cloud-run/service.yaml";
    let container = &yaml(path)?[0]["spec"]["template"]["spec"]["containers"][0];
    Some(Example {
        path,
        setting: None,
        grace: 10,
        pre_stop: 0,
        environment: named(&container["env"]),
    })
}

fn systemd() -> Example {
    let path = "examples/systemd/thrust.service";
    let unit = read(path);
    let assigned = of_unit(&unit, "Environment");
    let pairs = assigned
        .split(' ')
        .map(|pair| pair.split_once('=').expect("a pair"));
    Example {
        path,
        setting: Some("TimeoutStopSec"),
        grace: of_unit(&unit, "TimeoutStopSec").parse().expect("seconds"),
        pre_stop: 0,
        environment: pairs
            .map(|(name, value)| (name.into(), value.into()))
            .collect(),
    }
}

fn fly() -> Example {
    let path = "examples/fly/fly.toml";
    let text = read(path);
    let pairs = text.lines().filter_map(|line| line.split_once(" = "));
    let pairs: BTreeMap<_, _> = pairs
        .map(|(name, value)| (name.trim().to_owned(), value.trim_matches('"').to_owned()))
        .collect();
    assert_eq!(pairs["kill_signal"], "SIGTERM");
    Example {
        path,
        setting: Some("kill_timeout"),
        grace: pairs["kill_timeout"].parse().expect("seconds"),
        pre_stop: 0,
        environment: pairs
            .into_iter()
            .filter(|(name, _)| name.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
            .collect(),
    }
}

fn heroku() -> Example {
    let path = "examples/heroku/app.json";
    let app: Value = serde_json::from_str(&read(path)).expect("JSON");
    let variables = app["env"].as_object().expect("variables").iter();
    Example {
        path,
        setting: None,
        grace: 30,
        pre_stop: 0,
        environment: variables
            .map(|(name, of)| (name.clone(), text(&of["value"])))
            .collect(),
    }
}

fn ecs() -> Example {
    let path = "examples/ecs/task-definition.json";
    let task: Value = serde_json::from_str(&read(path)).expect("JSON");
    let container = &task["containerDefinitions"][0];
    Example {
        path,
        setting: Some("stopTimeout"),
        grace: number(&container["stopTimeout"]),
        pre_stop: 0,
        environment: named(&container["environment"]),
    }
}

/// `[{ name, value }]`
fn named(list: &Value) -> BTreeMap<String, String> {
    let list = list.as_array().expect("a list").iter();
    list.map(|pair| (text(&pair["name"]), text(&pair["value"])))
        .collect()
}

/// `{ name: value }`
fn plain(map: &Value) -> BTreeMap<String, String> {
    let map = map.as_object().expect("a map").iter();
    map.map(|(name, value)| (name.clone(), text(value)))
        .collect()
}

/// Variables are text: a bare number would be refused by most platforms.
fn text(value: &Value) -> String {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value}"))
        .to_owned()
}

fn number(value: &Value) -> u64 {
    value
        .as_u64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

fn of_unit(unit: &str, key: &str) -> String {
    let value = unit
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    value.unwrap_or_else(|| panic!("no {key}")).to_owned()
}
