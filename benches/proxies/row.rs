//! What is measured: the rows by name.

use crate::Result;
use std::str::FromStr;

/// A row, or rather one per contender.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Row {
    Load(Load),
    Memory,
    Start,
    Keys,
}

/// A kind of load; [`Load::ask`] has its request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) enum Load {
    OneKib,
    HundredKib,
    NewConnection,
    Post,
    Untouched,
    UntouchedBrowser,
    Hit,
    HitGzip,
    SendfileSmall,
    SendfileLarge,
    Gzip,
    Zstd,
}

/// The rows of the proxy as such.
const PROXY: &[(&str, Row)] = &[
    ("1k", Row::Load(Load::OneKib)),
    ("100k", Row::Load(Load::HundredKib)),
    ("close", Row::Load(Load::NewConnection)),
    ("post", Row::Load(Load::Post)),
    ("memory", Row::Memory),
    ("start", Row::Start),
];

/// The rows of the content path.
const CONTENT: &[(&str, Row)] = &[
    ("untouched", Row::Load(Load::Untouched)),
    ("untouched-browser", Row::Load(Load::UntouchedBrowser)),
    ("hit", Row::Load(Load::Hit)),
    ("hit-gzip", Row::Load(Load::HitGzip)),
    ("sendfile-100k", Row::Load(Load::SendfileSmall)),
    ("sendfile-100m", Row::Load(Load::SendfileLarge)),
    ("gzip-30k", Row::Load(Load::Gzip)),
    ("zstd-30k", Row::Load(Load::Zstd)),
    ("keys", Row::Keys),
];

impl Row {
    pub(crate) fn all() -> Vec<Self> {
        [PROXY, CONTENT]
            .concat()
            .into_iter()
            .map(|(_, row)| row)
            .collect()
    }

    /// Rows by their names or those of their groups, with commas between.
    pub(crate) fn listed(names: &str) -> Result<Vec<Self>> {
        let mut rows = Vec::new();
        for name in names.split(',') {
            match name {
                "proxy" => rows.extend(PROXY.iter().map(|(_, row)| *row)),
                "content" => rows.extend(CONTENT.iter().map(|(_, row)| *row)),
                _ => rows.push(name.parse()?),
            }
        }
        Ok(rows)
    }

    pub(crate) fn load(self) -> Option<Load> {
        match self {
            Self::Load(load) => Some(load),
            Self::Memory | Self::Start | Self::Keys => None,
        }
    }
}

impl Load {
    /// Whether its access log is of interest: what the log costs does not depend on where a body came from.
    pub(crate) fn is_logged(self) -> bool {
        PROXY.iter().any(|(_, row)| row.load() == Some(self))
    }
}

impl FromStr for Row {
    type Err = Box<dyn std::error::Error>;

    fn from_str(name: &str) -> Result<Self> {
        let all = [PROXY, CONTENT].concat();
        if let Some((_, row)) = all.iter().find(|(known, _)| *known == name) {
            return Ok(*row);
        }
        let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
        Err(format!("no row {name}: {}, proxy, content", names.join(", ")).into())
    }
}
