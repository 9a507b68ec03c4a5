//! Looks at the heads of frames as they pass: which of them are worth nothing, whether one does not become whole, which
//! windows they open, and what is wrong with them.
//!
//! h2 has limits of its own for streams that are reset before they are accepted, for CONTINUATION and for small DATA
//! frames. What it answers or ignores without end is counted here, and where it does not look, or says `PROTOCOL_ERROR` to
//! everything, the fault is named here. Pure: the caller brings the clock.

use std::time::Instant;

use h2::Reason;

use super::PREFACE;

/// The length of a frame's head (RFC 9113 section 4.1).
const HEAD: usize = 9;

/// Frames that ask for no response: how many may come at once, and how many each second. A client that measures its
/// connection by a PING for each DATA frame stays far below, as every answer earns it some.
const CONTROLS: Allowance = Allowance {
    most: 2_000.0,
    each_second: 200.0,
};

/// Resets, each of which makes the app work for nobody (CVE-2023-44487).
const RESETS: Allowance = Allowance {
    most: 500.0,
    each_second: 50.0,
};

/// So many bytes of answers earn a control frame: a client opens its windows as it takes them.
const BYTES_A_CONTROL: f64 = 512.0;

/// Frame types (RFC 9113 section 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const PRIORITY: u8 = 2;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// SETTINGS_INITIAL_WINDOW_SIZE (RFC 9113 section 6.5.2), and how much it is without, in bytes.
const INITIAL_WINDOW_SIZE: u16 = 4;
const INITIAL_WINDOW: u32 = 65_535;

/// The largest window there is, in bytes (RFC 9113 section 6.9.1).
const MAX_WINDOW: u32 = (1 << 31) - 1;

/// On how many streams it is remembered that all was said: as many as may be open.
const REMEMBERED: usize = super::MAX_STREAMS as usize;

/// The length of an entry of SETTINGS, and of the payload of WINDOW_UPDATE.
const ENTRY: usize = 6;
const INCREMENT: usize = 4;

#[derive(Clone, Copy, Debug)]
struct Allowance {
    most: f64,
    each_second: f64,
}

/// What is left of an [`Allowance`].
#[derive(Debug)]
struct Budget {
    of: Allowance,
    left: f64,
    at: Instant,
}

impl Budget {
    fn new(of: Allowance, now: Instant) -> Self {
        Self {
            of,
            left: of.most,
            at: now,
        }
    }

    fn earn(&mut self, amount: f64) {
        self.left = (self.left + amount).min(self.of.most);
    }

    fn spend(&mut self, now: Instant) {
        self.earn(now.duration_since(self.at).as_secs_f64() * self.of.each_second);
        self.at = now;
        self.left -= 1.0;
    }

    fn is_spent(&self) -> bool {
        self.left < 0.0
    }
}

/// What has come of the current frame.
#[derive(Debug)]
pub(super) struct Meter {
    controls: Budget,
    resets: Budget,
    /// How much of the preface is still to come.
    preface: usize,
    head: [u8; HEAD],
    /// How much of the head is there.
    filled: usize,
    /// How much of the payload is still to come.
    left: usize,
    /// Since when a header block is on its way.
    block: Option<Instant>,
    /// When the last byte of a frame came that is not whole.
    partial: Option<Instant>,
    /// What has come of an entry of SETTINGS, or of an increment.
    entry: [u8; ENTRY],
    entered: usize,
    /// Whether a frame has come: the first one is to be SETTINGS.
    begun: bool,
    fault: Option<Reason>,
    /// The newest stream, and the last ones on which the client has said all it had to.
    newest: u32,
    ended: Vec<u32>,
    /// How many have ended.
    ends: usize,
    /// The window with which the client's streams begin, in bytes.
    initial_window: u32,
    /// By how much which streams' windows were opened since that was asked for.
    opened: Vec<(u32, u32)>,
}

impl Meter {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            controls: Budget::new(CONTROLS, now),
            resets: Budget::new(RESETS, now),
            preface: PREFACE.len(),
            head: [0; HEAD],
            filled: 0,
            left: 0,
            block: None,
            partial: None,
            entry: [0; ENTRY],
            entered: 0,
            begun: false,
            fault: None,
            newest: 0,
            ended: Vec::new(),
            ends: 0,
            initial_window: INITIAL_WINDOW,
            opened: Vec::new(),
        }
    }

    /// `bytes` have come; how many of them are to be passed on: all but what ends the connection, and what follows it.
    pub(super) fn read(&mut self, bytes: &[u8], now: Instant) -> usize {
        let mut rest = bytes;
        while !rest.is_empty() && self.fault.is_none() {
            rest = self.step(rest, now);
        }
        let between = self.preface == 0 && self.filled == 0;
        self.partial = (!between).then_some(now);
        let passed = bytes.len() - rest.len();
        // The byte with which the fault became known would make a frame whole.
        passed.saturating_sub(self.fault.is_some().into())
    }

    /// `bytes` of answers were taken.
    pub(super) fn wrote(&mut self, bytes: usize) {
        #[expect(clippy::cast_precision_loss, reason = "an allowance")]
        self.controls.earn(bytes as f64 / BYTES_A_CONTROL);
    }

    /// A response was whole.
    pub(super) fn answered(&mut self) {
        self.resets.earn(1.0);
    }

    /// Why the connection is to end, if it is: what has come is none that may, or keeps us busy with nothing.
    pub(super) fn fault(&self) -> Option<Reason> {
        let flooded = self.controls.is_spent() || self.resets.is_spent();
        self.fault
            .or_else(|| flooded.then_some(Reason::ENHANCE_YOUR_CALM))
    }

    /// The window with which the client's streams begin, in bytes.
    pub(super) fn initial_window(&self) -> u32 {
        self.initial_window
    }

    /// By how much which streams' windows were opened since the last time, in bytes.
    pub(super) fn opened(&mut self) -> impl Iterator<Item = (u32, u32)> {
        self.opened.drain(..)
    }

    /// Whether the client has said that it speaks HTTP/2.
    pub(super) fn is_introduced(&self) -> bool {
        self.preface == 0
    }

    /// Since when a head, or the next byte of another frame, is awaited; none between two of them.
    pub(super) fn waiting_since(&self) -> Option<Instant> {
        self.block.or(self.partial)
    }

    fn step<'a>(&mut self, bytes: &'a [u8], now: Instant) -> &'a [u8] {
        if self.preface > 0 {
            let count = bytes.len().min(self.preface);
            self.preface -= count;
            return &bytes[count..];
        }
        if self.filled < HEAD {
            let count = bytes.len().min(HEAD - self.filled);
            self.head[self.filled..self.filled + count].copy_from_slice(&bytes[..count]);
            self.filled += count;
            if self.filled == HEAD {
                self.begin(now);
            }
            return &bytes[count..];
        }
        let [_, _, _, kind, ..] = self.head;
        let count = match kind {
            SETTINGS => self.enter(bytes, ENTRY),
            WINDOW_UPDATE => self.enter(bytes, INCREMENT),
            _ => bytes.len().min(self.left),
        };
        self.left -= count;
        if self.left == 0 {
            self.end();
        }
        &bytes[count..]
    }

    /// Takes of `bytes` what is missing of an entry of `size`.
    fn enter(&mut self, bytes: &[u8], size: usize) -> usize {
        let count = bytes.len().min(size - self.entered);
        self.entry[self.entered..self.entered + count].copy_from_slice(&bytes[..count]);
        self.entered += count;
        if self.entered == size {
            self.entered = 0;
            self.entry_came();
        }
        count
    }

    /// An entry is whole.
    fn entry_came(&mut self) {
        let [_, _, _, kind, ..] = self.head;
        let [a, b, c, d, e, f] = self.entry;
        if kind == WINDOW_UPDATE {
            let stream = self.stream();
            if stream > 0 {
                let increment = u32::from_be_bytes([a, b, c, d]) & MAX_WINDOW;
                self.opened.push((stream, increment));
            }
        } else if u16::from_be_bytes([a, b]) == INITIAL_WINDOW_SIZE {
            match u32::from_be_bytes([c, d, e, f]) {
                window @ ..=MAX_WINDOW => self.initial_window = window,
                _ => self.fault = Some(Reason::FLOW_CONTROL_ERROR),
            }
        }
    }

    /// A frame's head is whole.
    fn begin(&mut self, now: Instant) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
        self.fault = self.fault_of_head();
        match kind {
            HEADERS => self.block = Some(now),
            CONTINUATION => {}
            DATA if self.left > 0 || flags & END_STREAM != 0 => {}
            RST_STREAM => self.resets.spend(now),
            _ => self.controls.spend(now),
        }
        if self.left == 0 {
            self.end();
        }
    }

    /// The stream of the current frame (RFC 9113 section 4.1).
    fn stream(&self) -> u32 {
        let [.., a, b, c, d] = self.head;
        u32::from_be_bytes([a, b, c, d]) & !(1 << 31)
    }

    /// What is wrong with a frame by its head: it is the first and no SETTINGS (RFC 9113 section 3.4), has another size than
    /// those of its kind (sections 6.3 to 6.9), or says more on a stream on which all was said (section 5.1).
    fn fault_of_head(&mut self) -> Option<Reason> {
        let [_, _, _, kind, flags, ..] = self.head;
        let acknowledges = flags & ACK != 0;
        let first = !std::mem::replace(&mut self.begun, true);
        if first && (kind != SETTINGS || acknowledges) {
            return Some(Reason::PROTOCOL_ERROR);
        }
        // In the midst of a header block it is out of place whatever it says (section 4.3), which h2 knows.
        if matches!(kind, DATA | HEADERS) && self.block.is_none() && self.has_ended() {
            return Some(Reason::STREAM_CLOSED);
        }
        let fits = match kind {
            PRIORITY => self.left == 5,
            RST_STREAM | WINDOW_UPDATE => self.left == 4,
            SETTINGS if acknowledges => self.left == 0,
            SETTINGS => self.left.is_multiple_of(ENTRY),
            PING => self.left == 8,
            _ => true,
        };
        (!fits).then_some(Reason::FRAME_SIZE_ERROR)
    }

    /// Whether all was said on the stream of the current frame, as far as that is remembered.
    fn has_ended(&mut self) -> bool {
        let stream = self.stream();
        if stream > self.newest {
            self.newest = stream;
            return false;
        }
        self.ended.contains(&stream)
    }

    /// All is said on the stream of the current frame.
    fn remember_end(&mut self) {
        let stream = self.stream();
        match self.ended.get_mut(self.ends % REMEMBERED) {
            Some(oldest) => *oldest = stream,
            None => self.ended.push(stream),
        }
        self.ends += 1;
    }

    /// A frame is whole.
    fn end(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
        if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
            self.remember_end();
        }
        if matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS != 0 {
            self.block = None;
        }
        self.filled = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn frame(kind: u8, flags: u8, length: usize) -> Vec<u8> {
        let mut frame = u32::try_from(length).unwrap().to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend(vec![0; length]);
        frame
    }

    fn introduced(now: Instant) -> Meter {
        let mut meter = Meter::new(now);
        meter.read(PREFACE, now);
        meter.read(&frame(SETTINGS, 0, 0), now);
        meter
    }

    #[test]
    fn it_sees_the_same_whatever_the_pieces() {
        let now = Instant::now();
        let mut bytes = PREFACE.to_vec();
        for stream in 1..4 {
            bytes.extend(frame(SETTINGS, 0, 12));
            for mut frame in [frame(HEADERS, END_HEADERS, 40), frame(DATA, END_STREAM, 0)] {
                frame[8] = stream;
                bytes.extend(frame);
            }
            bytes.extend(frame(RST_STREAM, 0, 4));
        }
        for size in [1, 2, 7, 9, 10, 24, 1000] {
            let mut meter = Meter::new(now);
            for piece in bytes.chunks(size) {
                assert_eq!(meter.read(piece, now), piece.len(), "{size}");
            }
            assert_eq!(meter.waiting_since(), None, "{size}");
            assert_eq!(meter.controls.left, CONTROLS.most - 3.0, "{size}");
            assert_eq!(meter.resets.left, RESETS.most - 3.0, "{size}");
        }
    }

    #[test]
    fn a_header_block_is_awaited_from_its_first_frame_and_other_frames_from_their_last_byte() {
        let start = Instant::now();
        let later = |seconds| start + Duration::from_secs(seconds);
        let mut meter = introduced(start);
        meter.read(&frame(HEADERS, 0, 5), later(1));
        meter.read(&frame(CONTINUATION, 0, 5), later(2));
        assert_eq!(meter.waiting_since(), Some(later(1)));
        meter.read(&frame(CONTINUATION, END_HEADERS, 5), later(3));
        assert_eq!(meter.waiting_since(), None);
        let data = frame(DATA, 0, 5);
        meter.read(&data[..3], later(4));
        assert_eq!(meter.waiting_since(), Some(later(4)));
        meter.read(&data[3..10], later(5));
        assert_eq!(meter.waiting_since(), Some(later(5)));
        meter.read(&data[10..], later(6));
        assert_eq!(meter.waiting_since(), None);
    }

    #[test]
    fn what_asks_for_nothing_is_limited_and_answers_earn_more_of_it() {
        let now = Instant::now();
        // SETTINGS have begun it.
        for (kind, length, allowed) in [
            (PING, 8, 1_999),
            (SETTINGS, 0, 1_999),
            (DATA, 0, 1_999),
            (RST_STREAM, 4, 500),
        ] {
            let mut meter = introduced(now);
            let frame = frame(kind, 0, length);
            for _ in 0..allowed {
                meter.read(&frame, now);
            }
            assert_eq!(meter.fault(), None, "{kind}");
            meter.read(&frame, now);
            assert_eq!(meter.fault(), Some(Reason::ENHANCE_YOUR_CALM), "{kind}");
            meter.wrote(512);
            meter.answered();
            assert_eq!(meter.fault(), None, "{kind}");
        }
        let mut meter = introduced(now);
        let window_update = frame(8, 0, 4);
        for second in 0..100 {
            let now = now + Duration::from_secs(second);
            for _ in 0..200 {
                meter.read(&window_update, now);
            }
        }
        assert_eq!(meter.fault(), None);
    }

    #[test]
    fn requests_are_no_flood() {
        let now = Instant::now();
        let mut meter = introduced(now);
        for stream in 1..10_000_u32 {
            for mut frame in [frame(HEADERS, END_HEADERS, 20), frame(DATA, END_STREAM, 1)] {
                frame[5..9].copy_from_slice(&stream.to_be_bytes());
                meter.read(&frame, now);
            }
        }
        assert_eq!(meter.fault(), None);
    }

    #[test]
    fn a_fault_is_named_and_neither_it_nor_what_follows_is_passed_on() {
        let now = Instant::now();
        let faults = [
            (frame(PRIORITY, 0, 4), Reason::FRAME_SIZE_ERROR),
            (frame(RST_STREAM, 0, 5), Reason::FRAME_SIZE_ERROR),
            (frame(SETTINGS, 0, 7), Reason::FRAME_SIZE_ERROR),
            (frame(SETTINGS, ACK, 6), Reason::FRAME_SIZE_ERROR),
            (frame(PING, 0, 0), Reason::FRAME_SIZE_ERROR),
            (frame(WINDOW_UPDATE, 0, 3), Reason::FRAME_SIZE_ERROR),
            (settings(0x8000_0000), Reason::FLOW_CONTROL_ERROR),
        ];
        for (bad, reason) in faults {
            let good = frame(PING, 0, 8);
            let bytes = [good.clone(), bad.clone(), good.clone()].concat();
            for size in [1, 9, 1000] {
                let mut meter = introduced(now);
                let passed: usize = bytes.chunks(size).map(|piece| meter.read(piece, now)).sum();
                assert_eq!(meter.fault(), Some(reason), "{bad:?}");
                let whole = good.len() + bad.len();
                assert!((good.len()..whole).contains(&passed), "{bad:?} {passed}");
            }
        }
    }

    #[test]
    fn nothing_is_said_behind_the_end_of_a_stream() {
        let now = Instant::now();
        let on = |kind, flags, stream: u8| {
            let mut frame = frame(kind, flags, 3);
            frame[8] = stream;
            frame
        };
        for (kind, flags) in [(DATA, 0), (HEADERS, END_HEADERS | END_STREAM)] {
            let mut meter = introduced(now);
            meter.read(&on(HEADERS, END_HEADERS, 1), now);
            meter.read(&on(HEADERS, END_HEADERS | END_STREAM, 3), now);
            meter.read(&on(DATA, END_STREAM, 1), now);
            assert_eq!(meter.fault(), None);
            meter.read(&on(kind, flags, 1), now);
            assert_eq!(meter.fault(), Some(Reason::STREAM_CLOSED), "{kind}");
        }
        let mut meter = introduced(now);
        for stream in (1..1_000).step_by(2) {
            let mut request = on(HEADERS, END_HEADERS | END_STREAM, 0);
            request[5..9].copy_from_slice(&u32::to_be_bytes(stream));
            meter.read(&request, now);
        }
        assert_eq!((meter.fault(), meter.ended.len()), (None, REMEMBERED));
    }

    #[test]
    fn the_first_frame_is_settings() {
        let now = Instant::now();
        for (kind, flags, length) in [(PING, 0, 8), (HEADERS, END_HEADERS, 3), (SETTINGS, ACK, 0)] {
            let mut meter = Meter::new(now);
            let bytes = [&PREFACE[..], &frame(kind, flags, length)].concat();
            assert_eq!(meter.read(&bytes, now), PREFACE.len() + HEAD - 1, "{kind}");
            assert_eq!(meter.fault(), Some(Reason::PROTOCOL_ERROR), "{kind}");
        }
    }

    #[test]
    fn windows_are_known() {
        let now = Instant::now();
        let mut meter = introduced(now);
        assert_eq!(meter.initial_window(), 65_535);
        meter.read(&settings(100), now);
        assert_eq!(meter.initial_window(), 100);
        let mut update = frame(WINDOW_UPDATE, 0, 4);
        update[12] = 7;
        for piece in update.chunks(5) {
            meter.read(piece, now);
        }
        assert_eq!(meter.opened().collect::<Vec<_>>(), [(1, 7)]);
        // The connection's.
        update[8] = 0;
        meter.read(&update, now);
        assert_eq!(meter.opened().count(), 0);
    }

    /// SETTINGS with INITIAL_WINDOW_SIZE behind something else.
    fn settings(window: u32) -> Vec<u8> {
        let mut settings = frame(SETTINGS, 0, 12);
        settings[16] = 4;
        settings[17..].copy_from_slice(&window.to_be_bytes());
        settings
    }
}
