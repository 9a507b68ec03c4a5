//! Why an answer of our own is what it is: one word for the access log.

/// What made us answer, or give up, instead of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The request's framing, target, Host or method is not one that may be passed on.
    BadRequest,
    /// The request's body is longer than `MAX_REQUEST_BODY`.
    BodyTooLarge,
    /// The client sent no byte of its body for `HTTP_READ_TIMEOUT`.
    BodyTimeout,
    /// The client's connection ended before its answer did.
    ClientGone,
    /// The app has not opened its port yet.
    Booting,
    /// Too many requests wait for the app to boot.
    HoldFull,
    /// Requests are held back on purpose, for too long or too many.
    Paused,
    /// The service is closed to its users on purpose.
    Maintenance,
    /// A stop has begun and the app can no longer be reached.
    Draining,
    /// `HTTP_HEALTH_PATH` while a stop is on its way.
    HealthDraining,
    /// Nothing listens at the app's address.
    UpstreamRefused,
    /// The app's connection could not be made, or the answer did not begin, in time.
    UpstreamTimeout,
    /// The app closed the connection before its answer was whole.
    UpstreamClosed,
    /// The app's answer is not HTTP.
    UpstreamBadResponse,
    /// The app has exited.
    UpstreamGone,
    /// The app named a file that is not there.
    FileMissing,
    /// The app named a file that is not to be sent: outside of its directory, or no regular file.
    FileRefused,
    /// A file could not be opened, or not be read to its end.
    FileFailed,
    /// The client wanted only what is in the cache.
    NotCached,
}

impl Cause {
    /// All of them, in their order: whoever counts them goes by it.
    pub const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::ClientGone,
        Self::Booting,
        Self::HoldFull,
        Self::Paused,
        Self::Maintenance,
        Self::Draining,
        Self::HealthDraining,
        Self::UpstreamRefused,
        Self::UpstreamTimeout,
        Self::UpstreamClosed,
        Self::UpstreamBadResponse,
        Self::UpstreamGone,
        Self::FileMissing,
        Self::FileRefused,
        Self::FileFailed,
        Self::NotCached,
    ];

    /// Whether it is that there is no app to answer: what is stored may be used in its place.
    pub fn is_outage(self) -> bool {
        match self {
            Self::Booting
            | Self::HoldFull
            | Self::Paused
            | Self::Draining
            | Self::UpstreamRefused
            | Self::UpstreamTimeout
            | Self::UpstreamClosed
            | Self::UpstreamBadResponse
            | Self::UpstreamGone => true,
            Self::BadRequest
            | Self::BodyTooLarge
            | Self::BodyTimeout
            | Self::ClientGone
            | Self::Maintenance
            | Self::HealthDraining
            | Self::FileMissing
            | Self::FileRefused
            | Self::FileFailed
            | Self::NotCached => false,
        }
    }

    /// The word that stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::ClientGone => "client_gone",
            Self::Booting => "booting",
            Self::HoldFull => "hold_full",
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::Draining => "draining",
            Self::HealthDraining => "health_draining",
            Self::UpstreamRefused => "upstream_refused",
            Self::UpstreamTimeout => "upstream_timeout",
            Self::UpstreamClosed => "upstream_closed",
            Self::UpstreamBadResponse => "upstream_bad_response",
            Self::UpstreamGone => "upstream_gone",
            Self::FileMissing => "file_missing",
            Self::FileRefused => "file_refused",
            Self::FileFailed => "file_failed",
            Self::NotCached => "not_cached",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_stand_in_their_order() {
        for (place, cause) in Cause::ALL.iter().enumerate() {
            assert_eq!(*cause as usize, place, "{}", cause.as_str());
        }
        // The last one that there is.
        assert_eq!(Cause::ALL.last(), Some(&Cause::NotCached));
    }
}
