//! Error codes (RFC 9113 section 7).

use std::fmt;

/// Why a stream or a connection ends.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Code(pub(crate) u32);

pub(crate) const NO_ERROR: Code = Code(0x0);
pub(crate) const PROTOCOL_ERROR: Code = Code(0x1);
pub(crate) const FLOW_CONTROL_ERROR: Code = Code(0x3);
pub(crate) const STREAM_CLOSED: Code = Code(0x5);
pub(crate) const FRAME_SIZE_ERROR: Code = Code(0x6);
pub(crate) const REFUSED_STREAM: Code = Code(0x7);
pub(crate) const CANCEL: Code = Code(0x8);
pub(crate) const COMPRESSION_ERROR: Code = Code(0x9);
pub(crate) const ENHANCE_YOUR_CALM: Code = Code(0xb);

const NAMES: [&str; 14] = [
    "NO_ERROR",
    "PROTOCOL_ERROR",
    "INTERNAL_ERROR",
    "FLOW_CONTROL_ERROR",
    "SETTINGS_TIMEOUT",
    "STREAM_CLOSED",
    "FRAME_SIZE_ERROR",
    "REFUSED_STREAM",
    "CANCEL",
    "COMPRESSION_ERROR",
    "CONNECT_ERROR",
    "ENHANCE_YOUR_CALM",
    "INADEQUATE_SECURITY",
    "HTTP_1_1_REQUIRED",
];

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = usize::try_from(self.0).ok().and_then(|at| NAMES.get(at));
        match name {
            Some(name) => formatter.write_str(name),
            None => write!(formatter, "{:#x}", self.0),
        }
    }
}
