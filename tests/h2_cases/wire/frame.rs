//! Frames (RFC 9113 sections 4.1 and 6).

use super::{Code, Fields};

pub(crate) const DATA: u8 = 0x0;
pub(crate) const HEADERS: u8 = 0x1;
pub(crate) const PRIORITY: u8 = 0x2;
pub(crate) const RST_STREAM: u8 = 0x3;
pub(crate) const SETTINGS: u8 = 0x4;
pub(crate) const PUSH_PROMISE: u8 = 0x5;
pub(crate) const PING: u8 = 0x6;
pub(crate) const GOAWAY: u8 = 0x7;
pub(crate) const WINDOW_UPDATE: u8 = 0x8;
pub(crate) const CONTINUATION: u8 = 0x9;

const END_STREAM: u8 = 0x1;
const ACK: u8 = 0x1;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const HAS_PRIORITY: u8 = 0x20;

/// One frame, right or wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// With the reserved bit.
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    pub(crate) fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        let payload = payload.into();
        Frame {
            kind,
            flags,
            stream,
            payload,
        }
    }

    /// With END_STREAM.
    pub(crate) fn end(self) -> Self {
        self.with_flags(END_STREAM)
    }

    /// Without END_HEADERS.
    pub(crate) fn more(mut self) -> Self {
        self.flags &= !END_HEADERS;
        self
    }

    /// With ACK.
    pub(crate) fn ack(self) -> Self {
        self.with_flags(ACK)
    }

    pub(crate) fn with_flags(mut self, flags: u8) -> Self {
        self.flags |= flags;
        self
    }

    /// With PADDED, and so much padding at the end.
    pub(crate) fn padded(self, length: u8) -> Self {
        let mut padded = self.padded_by_its_word(length);
        padded.payload.extend(vec![0; length.into()]);
        padded
    }

    /// With PADDED and a pad length that nothing follows.
    pub(crate) fn padded_by_its_word(mut self, length: u8) -> Self {
        self.payload.insert(0, length);
        self.with_flags(PADDED)
    }

    /// With PRIORITY: what the stream depends on, and its weight. Before any padding.
    pub(crate) fn depending_on(mut self, stream: u32) -> Self {
        let dependency = [&stream.to_be_bytes()[..], &[15]].concat();
        self.payload.splice(0..0, dependency);
        self.with_flags(HAS_PRIORITY)
    }

    /// With another payload.
    pub(crate) fn with_payload(mut self, payload: impl Into<Vec<u8>>) -> Self {
        self.payload = payload.into();
        self
    }

    pub(crate) fn is_ack(&self) -> bool {
        self.flags & ACK != 0
    }

    pub(crate) fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    pub(crate) fn ends_headers(&self) -> bool {
        self.flags & END_HEADERS != 0
    }

    /// The payload without padding and priority.
    pub(crate) fn content(&self) -> &[u8] {
        let mut content = &self.payload[..];
        if matches!(self.kind, DATA | HEADERS) && self.flags & PADDED != 0 {
            let length = usize::from(content[0]);
            content = &content[1..content.len() - length];
        }
        if self.kind == HEADERS && self.flags & HAS_PRIORITY != 0 {
            content = &content[5..];
        }
        content
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).expect("24 bits");
        let mut wire = length.to_be_bytes()[1..].to_vec();
        wire.extend([self.kind, self.flags]);
        wire.extend(self.stream.to_be_bytes());
        wire.extend(&self.payload);
        wire
    }

    /// The frame at the beginning of `wire`, and how long it is there.
    pub(crate) fn decode(wire: &[u8]) -> Option<(Self, usize)> {
        let (head, rest) = wire.split_at_checked(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        let payload = rest.get(..length)?;
        let stream = u32_at(head, 5);
        Some((Frame::new(head[3], head[4], stream, payload), 9 + length))
    }
}

/// The number at this place.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let four = bytes
        .get(at..at + 4)
        .expect("a frame of this type has them");
    u32::from_be_bytes(four.try_into().expect("four"))
}

pub(crate) fn data(stream: u32, bytes: impl Into<Vec<u8>>) -> Frame {
    Frame::new(DATA, 0, stream, bytes)
}

pub(crate) fn headers(stream: u32, fields: impl Into<Fields>) -> Frame {
    Frame::new(HEADERS, END_HEADERS, stream, fields.into().encoded())
}

pub(crate) fn continuation(stream: u32, block: impl Into<Vec<u8>>) -> Frame {
    Frame::new(CONTINUATION, END_HEADERS, stream, block)
}

pub(crate) fn priority(stream: u32, on: u32) -> Frame {
    Frame::new(PRIORITY, 0, stream, [&on.to_be_bytes()[..], &[15]].concat())
}

pub(crate) fn reset(stream: u32, code: Code) -> Frame {
    Frame::new(RST_STREAM, 0, stream, code.0.to_be_bytes())
}

pub(crate) fn settings(values: &[(u16, u32)]) -> Frame {
    let pairs = values.iter();
    let payload = pairs.flat_map(|(id, value)| {
        let id = id.to_be_bytes();
        id.into_iter().chain(value.to_be_bytes())
    });
    Frame::new(SETTINGS, 0, 0, payload.collect::<Vec<_>>())
}

pub(crate) fn ping(bytes: [u8; 8]) -> Frame {
    Frame::new(PING, 0, 0, bytes)
}

pub(crate) fn goaway(last: u32, code: Code) -> Frame {
    let payload = [last.to_be_bytes(), code.0.to_be_bytes()].concat();
    Frame::new(GOAWAY, 0, 0, payload)
}

pub(crate) fn window_update(stream: u32, increment: u32) -> Frame {
    Frame::new(WINDOW_UPDATE, 0, stream, increment.to_be_bytes())
}
