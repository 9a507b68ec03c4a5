//! Looks at the heads of frames as they pass: which of them are worth nothing, and whether one does not become whole.
//!
//! h2 has limits of its own for streams that are reset before they are accepted, for CONTINUATION and for small DATA
//! frames. What it answers or ignores without end is counted here. Pure: the caller brings the clock.

use std::time::Instant;

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
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

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
        }
    }

    /// `bytes` have come.
    pub(super) fn read(&mut self, mut bytes: &[u8], now: Instant) {
        while !bytes.is_empty() {
            bytes = self.step(bytes, now);
        }
        let between = self.preface == 0 && self.filled == 0;
        self.partial = (!between).then_some(now);
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

    /// Whether the client keeps us busy with nothing.
    pub(super) fn is_flooded(&self) -> bool {
        self.controls.is_spent() || self.resets.is_spent()
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
        let count = bytes.len().min(self.left);
        self.left -= count;
        if self.left == 0 {
            self.end();
        }
        &bytes[count..]
    }

    /// A frame's head is whole.
    fn begin(&mut self, now: Instant) {
        let [a, b, c, kind, flags, ..] = self.head;
        self.left = usize::from(a) << 16 | usize::from(b) << 8 | usize::from(c);
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

    /// A frame is whole.
    fn end(&mut self) {
        let [_, _, _, kind, flags, ..] = self.head;
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
        meter
    }

    #[test]
    fn it_sees_the_same_whatever_the_pieces() {
        let now = Instant::now();
        let mut bytes = PREFACE.to_vec();
        for _ in 0..3 {
            bytes.extend(frame(4, 0, 12));
            bytes.extend(frame(HEADERS, END_HEADERS, 40));
            bytes.extend(frame(DATA, END_STREAM, 0));
            bytes.extend(frame(RST_STREAM, 0, 4));
        }
        for size in [1, 2, 7, 9, 10, 24, 1000] {
            let mut meter = Meter::new(now);
            bytes.chunks(size).for_each(|piece| meter.read(piece, now));
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
        for (kind, allowed) in [(6, 2_000), (4, 2_000), (DATA, 2_000), (RST_STREAM, 500)] {
            let mut meter = introduced(now);
            let frame = frame(kind, 0, 0);
            (0..allowed).for_each(|_| meter.read(&frame, now));
            assert!(!meter.is_flooded(), "{kind}");
            meter.read(&frame, now);
            assert!(meter.is_flooded(), "{kind}");
            meter.wrote(512);
            meter.answered();
            assert!(!meter.is_flooded(), "{kind}");
        }
        let mut meter = introduced(now);
        let window_update = frame(8, 0, 4);
        for second in 0..100 {
            let now = now + Duration::from_secs(second);
            (0..200).for_each(|_| meter.read(&window_update, now));
        }
        assert!(!meter.is_flooded());
    }

    #[test]
    fn requests_are_no_flood() {
        let now = Instant::now();
        let mut meter = introduced(now);
        for _ in 0..10_000 {
            meter.read(&frame(HEADERS, END_HEADERS | END_STREAM, 20), now);
            meter.read(&frame(DATA, 0, 1), now);
        }
        assert!(!meter.is_flooded());
    }
}
