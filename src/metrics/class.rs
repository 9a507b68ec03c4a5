//! What is told apart: a few words each, so that there are few series.

/// The first digit of a status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// 1xx; of final responses, that is 101.
    Informational,
    /// 2xx.
    Success,
    /// 3xx.
    Redirection,
    /// 4xx, and a client that did not wait for its answer.
    ClientError,
    /// 5xx.
    ServerError,
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Informational,
        Self::Success,
        Self::Redirection,
        Self::ClientError,
        Self::ServerError,
    ];

    /// The class of a status; whatever is beyond 499 is the server's error.
    pub fn of(status: u16) -> Self {
        match status {
            ..200 => Self::Informational,
            200..300 => Self::Success,
            300..400 => Self::Redirection,
            400..500 => Self::ClientError,
            500.. => Self::ServerError,
        }
    }

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Informational => "1xx",
            Self::Success => "2xx",
            Self::Redirection => "3xx",
            Self::ClientError => "4xx",
            Self::ServerError => "5xx",
        }
    }
}

/// What the cache did with a request, in the words of `X-Cache`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheResult {
    /// It never came to the cache, or there is none.
    None,
    /// What is stored was sent.
    Hit,
    /// Nothing was stored.
    Miss,
    /// It is none for a cache.
    Bypass,
    /// What is stored was sent although it is too old.
    Stale,
    /// The app said that what is stored still holds.
    Revalidated,
}

impl CacheResult {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::None,
        Self::Hit,
        Self::Miss,
        Self::Bypass,
        Self::Stale,
        Self::Revalidated,
    ];

    /// What `X-Cache` says.
    pub fn named(word: &[u8]) -> Self {
        match word {
            b"hit" => Self::Hit,
            b"miss" => Self::Miss,
            b"bypass" => Self::Bypass,
            b"stale" => Self::Stale,
            b"revalidated" => Self::Revalidated,
            _ => Self::None,
        }
    }

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Stale => "stale",
            Self::Revalidated => "revalidated",
        }
    }
}

/// How a TLS handshake ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handshake {
    /// With a connection.
    Done,
    /// Without one: the client and we do not agree, or it has gone.
    Failed,
    /// It took too long.
    Timeout,
    /// It was a CA's question.
    Challenge,
}

impl Handshake {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Done, Self::Failed, Self::Timeout, Self::Challenge];

    /// Its label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Timeout => "timeout",
            Self::Challenge => "challenge",
        }
    }
}
