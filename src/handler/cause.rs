//! Why an answer of our own is what it is: one word for the access log.

use super::ClosedBy;

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
    /// The client has asked more often than `RATE_LIMIT` allows.
    RateLimited,
    /// The app has not opened its port yet.
    Booting,
    /// Too many requests wait for the app to boot.
    HoldFull,
    /// Requests are held back on purpose, for too long or too many.
    Paused,
    /// The service is closed to its users on purpose.
    Maintenance,
    /// Too many requests wait for a place at the app.
    QueueFull,
    /// There was no place at the app for `UPSTREAM_QUEUE_TIMEOUT`.
    QueueTimeout,
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
    /// The client wanted it only if something held that does not.
    PreconditionFailed,
    /// The client wanted a range that there is not.
    RangeNotSatisfiable,
    /// The client took no byte for `HTTP_WRITE_TIMEOUT`.
    WriteTimeout,
    /// We could not wait any longer: the app is gone, or the connection was not one to be gone on with.
    Cut,
}

impl Cause {
    /// All of them, in their order: whoever counts them goes by it.
    pub const ALL: &'static [Self] = &[
        Self::BadRequest,
        Self::BodyTooLarge,
        Self::BodyTimeout,
        Self::ClientGone,
        Self::RateLimited,
        Self::Booting,
        Self::HoldFull,
        Self::Paused,
        Self::Maintenance,
        Self::QueueFull,
        Self::QueueTimeout,
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
        Self::PreconditionFailed,
        Self::RangeNotSatisfiable,
        Self::WriteTimeout,
        Self::Cut,
    ];

    /// Whether it is that there is no app to answer: what is stored may be used in its place.
    pub fn is_outage(self) -> bool {
        match self {
            Self::Booting
            | Self::HoldFull
            | Self::Paused
            | Self::QueueFull
            | Self::QueueTimeout
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
            | Self::RateLimited
            | Self::HealthDraining
            | Self::FileMissing
            | Self::FileRefused
            | Self::FileFailed
            | Self::NotCached
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable
            | Self::WriteTimeout
            | Self::Cut => false,
        }
    }

    /// The word that stands in the log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTimeout => "body_timeout",
            Self::ClientGone => "client_gone",
            Self::RateLimited => "rate_limited",
            Self::Booting => "booting",
            Self::HoldFull => "hold_full",
            Self::Paused => "paused",
            Self::Maintenance => "maintenance",
            Self::QueueFull => "queue_full",
            Self::QueueTimeout => "queue_timeout",
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
            Self::PreconditionFailed => "precondition_failed",
            Self::RangeNotSatisfiable => "range_not_satisfiable",
            Self::WriteTimeout => "write_timeout",
            Self::Cut => "cut",
        }
    }

    /// Who ended the exchange by that, if it was ended before its end.
    pub fn closed_by(self) -> Option<ClosedBy> {
        match self {
            Self::ClientGone => Some(ClosedBy::Client),
            Self::UpstreamRefused | Self::UpstreamClosed | Self::UpstreamGone => {
                Some(ClosedBy::App)
            }
            Self::BodyTimeout
            | Self::UpstreamTimeout
            | Self::UpstreamBadResponse
            | Self::WriteTimeout
            | Self::Cut => Some(ClosedBy::Thrust),
            Self::BadRequest
            | Self::BodyTooLarge
            | Self::RateLimited
            | Self::Booting
            | Self::HoldFull
            | Self::Paused
            | Self::Maintenance
            | Self::QueueFull
            | Self::QueueTimeout
            | Self::Draining
            | Self::HealthDraining
            | Self::FileMissing
            | Self::FileRefused
            | Self::FileFailed
            | Self::NotCached
            | Self::PreconditionFailed
            | Self::RangeNotSatisfiable => None,
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
        assert_eq!(Cause::ALL.last(), Some(&Cause::Cut));
    }
}
