//! The command line.

use crate::Result;
use crate::row::{Load, Row};
use std::path::PathBuf;

/// Everything the command line decides.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) rows: Vec<Row>,
    /// The access log in the load rows: off, on, or first off and then on.
    pub(crate) logs: Vec<bool>,
    pub(crate) only: Vec<String>,
    /// Name and command of each further contender.
    pub(crate) also: Vec<(String, String)>,
    pub(crate) baseline: String,
    pub(crate) connections: usize,
    pub(crate) idle: usize,
    pub(crate) settle: u64,
    pub(crate) thrust: PathBuf,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rounds: 10,
            seconds: 2,
            rows: Row::all(),
            logs: vec![false, true],
            only: Vec::new(),
            also: Vec::new(),
            baseline: "nginx".into(),
            connections: 64,
            idle: 10_000,
            settle: 5,
            thrust: env!("CARGO_BIN_EXE_thrust").into(),
        }
    }
}

impl Options {
    /// None if help was asked for.
    pub(crate) fn parse(args: &[String]) -> Result<Option<Self>> {
        let mut options = Self::default();
        let mut args = args.iter().filter(|arg| *arg != "--bench");
        while let Some(name) = args.next() {
            if matches!(name.as_str(), "--help" | "-h") {
                return Ok(None);
            }
            let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
            options.set(name, value)?;
        }
        Ok(Some(options))
    }

    fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "--rounds" => self.rounds = at_least_one(name, value)?,
            "--seconds" => self.seconds = at_least_one(name, value)? as u64,
            "--rows" => self.rows = Row::listed(value)?,
            "--log" => self.logs = logs(value)?,
            "--only" => self.only = value.split(',').map(str::to_owned).collect(),
            "--also" => self.also.push(also(value)?),
            "--baseline" => self.baseline = value.to_owned(),
            "--connections" => self.connections = at_least_one(name, value)?,
            "--idle" => self.idle = at_least_one(name, value)?,
            "--settle" => self.settle = at_least_one(name, value)? as u64,
            "--thrust" => self.thrust = value.into(),
            _ => return Err(format!("unknown option {name}").into()),
        }
        Ok(())
    }

    /// The load rows asked for.
    pub(crate) fn loads(&self) -> impl Iterator<Item = Load> {
        self.rows.iter().filter_map(|row| row.load())
    }

    /// How a load row is to be measured: rows that are not about the log are measured once.
    pub(crate) fn logs_of(&self, load: Load) -> &[bool] {
        if load.is_logged() {
            &self.logs
        } else {
            &self.logs[..1]
        }
    }
}

fn at_least_one(name: &str, value: &str) -> Result<usize> {
    value
        .parse()
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| format!("{name} wants a number above 0, not {value}").into())
}

fn logs(value: &str) -> Result<Vec<bool>> {
    Ok(match value {
        "off" => vec![false],
        "on" => vec![true],
        "both" => vec![false, true],
        _ => return Err(format!("--log wants off, on or both, not {value}").into()),
    })
}

fn also(value: &str) -> Result<(String, String)> {
    let (name, command) = value.split_once('=').ok_or("--also wants 'NAME=COMMAND'")?;
    Ok((name.to_owned(), command.to_owned()))
}
