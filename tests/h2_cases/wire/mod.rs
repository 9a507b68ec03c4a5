//! HTTP/2 as it is on the wire: frames that say what a test wants, also what no library would write.

mod code;
mod connection;
mod decoder;
mod event;
mod fields;
mod frame;
mod huffman;
mod static_table;

pub(crate) use code::{
    CANCEL, COMPRESSION_ERROR, Code, ENHANCE_YOUR_CALM, FLOW_CONTROL_ERROR, FRAME_SIZE_ERROR,
    NO_ERROR, PROTOCOL_ERROR, REFUSED_STREAM, STREAM_CLOSED,
};
pub(crate) use connection::{Connection, End, PREFACE, Stream};
pub(crate) use event::Event;
pub(crate) use fields::{Fields, integer, string};
pub(crate) use frame::{
    CONTINUATION, DATA, Frame, GOAWAY, HEADERS, PING, PRIORITY, PUSH_PROMISE, RST_STREAM, SETTINGS,
    WINDOW_UPDATE, continuation, data, goaway, headers, ping, priority, reset, settings,
    window_update,
};
