//! Brotli (RFC 7932): a stream, and the padding in a metadata block at its end.

use brotli::enc::{
    StandardAlloc,
    encode::{
        BrotliEncoderOperation as Operation, BrotliEncoderParameter as Parameter,
        BrotliEncoderStateStruct,
    },
};

use super::encoder::Purpose;

/// A body that is not longer needs no larger window, in bytes.
const SMALL: u64 = 64 * 1024;

/// A Brotli stream that is being written.
pub(super) struct Brotli(Box<BrotliEncoderStateStruct<StandardAlloc>>);

impl Brotli {
    pub(super) fn new(purpose: Purpose) -> Self {
        let (quality, window) = match purpose {
            Purpose::Passing { length } if length.is_some_and(|length| length <= SMALL) => (4, 16),
            Purpose::Passing { .. } | Purpose::Endless => (4, 18),
            Purpose::Kept => (6, 20),
        };
        let mut state = BrotliEncoderStateStruct::new(StandardAlloc::default());
        state.set_parameter(Parameter::BROTLI_PARAM_QUALITY, quality);
        state.set_parameter(Parameter::BROTLI_PARAM_LGWIN, window);
        Self(Box::new(state))
    }

    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        self.run(Operation::BROTLI_OPERATION_PROCESS, input, out);
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(Operation::BROTLI_OPERATION_FLUSH, &[], out);
    }

    /// Ends the stream, with `padding` just before its end.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, padding: Option<usize>) {
        if let Some(padding) = padding {
            // Behind a flush the next block begins with a whole byte.
            self.flush(out);
            metadata(padding, out);
        }
        self.run(Operation::BROTLI_OPERATION_FINISH, &[], out);
    }

    fn run(&mut self, operation: Operation, input: &[u8], out: &mut Vec<u8>) {
        let (mut left, mut taken) = (input.len(), 0);
        loop {
            // No room is given, so that what is written waits inside until it is taken, and is copied once.
            let went_well = self.0.compress_stream(
                operation,
                &mut left,
                input,
                &mut taken,
                &mut 0,
                &mut [],
                &mut 0,
                &mut None,
                &mut |_, _, _, _| (),
            );
            debug_assert!(went_well, "a stream that is not finished");
            let mut all = 0;
            let waiting = self.0.take_output(&mut all);
            out.extend_from_slice(&waiting[..all]);
            if all == 0 && (left == 0 || !went_well) {
                return;
            }
        }
    }
}

/// A block that decoders skip (RFC 7932 section 9.2), with `length` bytes in it; 0 is none at all.
fn metadata(length: usize, out: &mut Vec<u8>) {
    let Some(last) = length.checked_sub(1) else {
        return;
    };
    // From the lowest bit: not the last block, no data, a zero, how many bytes have the length less one, and these.
    let bytes = if last > 0xff { 2 } else { 1 };
    let head = 0b0110 | bytes << 4 | last << 6;
    out.extend_from_slice(&head.to_le_bytes()[..=bytes]);
    out.resize(out.len() + length, 0);
}

impl std::fmt::Debug for Brotli {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Brotli").finish_non_exhaustive()
    }
}
