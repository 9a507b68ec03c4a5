//! What a server says.

use super::{Code, DATA, Frame, GOAWAY, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE, frame::u32_at};

/// A frame, read; a whole block of fields is one event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Headers {
        stream: u32,
        fields: Vec<(String, String)>,
        end: bool,
    },
    Data {
        stream: u32,
        bytes: Vec<u8>,
        end: bool,
    },
    Reset {
        stream: u32,
        code: Code,
    },
    Settings(Vec<(u16, u32)>),
    SettingsAck,
    Ping([u8; 8]),
    PingAck([u8; 8]),
    Goaway {
        last: u32,
        code: Code,
    },
    WindowUpdate {
        stream: u32,
        increment: u32,
    },
    Other(Frame),
}

impl Event {
    /// Of a frame that carries no fields.
    pub(super) fn of(frame: Frame) -> Self {
        let stream = frame.stream;
        match frame.kind {
            DATA => Event::Data {
                stream,
                bytes: frame.content().to_vec(),
                end: frame.ends_stream(),
            },
            RST_STREAM => Event::Reset {
                stream,
                code: Code(u32_at(&frame.payload, 0)),
            },
            SETTINGS if frame.is_ack() => Event::SettingsAck,
            SETTINGS => Event::Settings(frame.payload.chunks_exact(6).map(setting).collect()),
            PING => {
                let bytes = frame.payload[..].try_into().expect("a PING has eight");
                match frame.is_ack() {
                    true => Event::PingAck(bytes),
                    false => Event::Ping(bytes),
                }
            }
            GOAWAY => Event::Goaway {
                last: u32_at(&frame.payload, 0),
                code: Code(u32_at(&frame.payload, 4)),
            },
            WINDOW_UPDATE => Event::WindowUpdate {
                stream,
                increment: u32_at(&frame.payload, 0),
            },
            _ => Event::Other(frame),
        }
    }

    /// The status of a final response's head to this stream.
    pub(crate) fn status(&self, wanted: u32) -> Option<u16> {
        let Event::Headers { stream, fields, .. } = self else {
            return None;
        };
        let (name, status) = fields.first()?;
        let is_head = *stream == wanted && name == ":status";
        let status = is_head.then(|| status.parse().ok()).flatten();
        status.filter(|status| *status >= 200)
    }

    /// Whether it is the last of this stream.
    pub(crate) fn ends(&self, wanted: u32) -> bool {
        match self {
            Event::Headers { stream, end, .. } | Event::Data { stream, end, .. } => {
                *stream == wanted && *end
            }
            Event::Reset { stream, .. } => *stream == wanted,
            _ => false,
        }
    }
}

fn setting(six: &[u8]) -> (u16, u32) {
    (u16::from_be_bytes([six[0], six[1]]), u32_at(six, 2))
}
