//! The command line.

use std::{path::PathBuf, str::FromStr};

use crate::Result;

/// What is measured.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Row {
    FullHandshake,
    ResumedHandshake,
    OneKib,
    OneKibStreams,
    OneMibStreams,
    Memory,
}

/// Everything the command line decides.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) rounds: usize,
    pub(crate) seconds: u64,
    pub(crate) rows: Vec<Row>,
    pub(crate) only: Vec<String>,
    pub(crate) idle: usize,
    pub(crate) settle: u64,
    pub(crate) thrust: PathBuf,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self> {
        let mut options = Self {
            rounds: 10,
            seconds: 2,
            rows: Row::ALL.map(|(_, row)| row).to_vec(),
            only: Vec::new(),
            idle: 2_000,
            settle: 5,
            thrust: env!("CARGO_BIN_EXE_thrust").into(),
        };
        let mut args = args.iter().filter(|arg| *arg != "--bench");
        while let Some(name) = args.next() {
            let value = args.next().ok_or_else(|| format!("{name} wants a value"))?;
            match name.as_str() {
                "--rounds" => options.rounds = value.parse()?,
                "--seconds" => options.seconds = value.parse()?,
                "--rows" => {
                    options.rows = value.split(',').map(Row::from_str).collect::<Result<_>>()?;
                }
                "--only" => options.only = value.split(',').map(str::to_owned).collect(),
                "--idle" => options.idle = value.parse()?,
                "--settle" => options.settle = value.parse()?,
                "--thrust" => options.thrust = value.into(),
                _ => {
                    return Err(format!(
                        "unknown option {name}; they are in the head of benches/secure/main.rs"
                    )
                    .into());
                }
            }
        }
        Ok(options)
    }
}

impl Row {
    const ALL: [(&str, Self); 6] = [
        ("full", Self::FullHandshake),
        ("resumed", Self::ResumedHandshake),
        ("1k", Self::OneKib),
        ("h2-1k", Self::OneKibStreams),
        ("h2-1m", Self::OneMibStreams),
        ("memory", Self::Memory),
    ];

    pub(crate) fn is_handshake(self) -> bool {
        matches!(self, Self::FullHandshake | Self::ResumedHandshake)
    }
}

impl FromStr for Row {
    type Err = Box<dyn std::error::Error>;

    fn from_str(wanted: &str) -> Result<Self> {
        let found = Self::ALL.iter().find(|(name, _)| *name == wanted);
        Ok(found.ok_or_else(|| format!("no row {wanted}"))?.1)
    }
}
