//! Zstandard (RFC 8878, and RFC 9659 for its window): a frame, and the padding in a skippable one behind it.

use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective};

use super::{encoder::Purpose, spare::Kept};

/// Begins a frame that decoders skip (RFC 8878 section 3.1.2).
const SKIPPABLE: u32 = 0x184d_2a50;

/// Room that is made for output at a time, in bytes.
const ROOM: usize = 8 * 1024;

const NO_MEMORY: &str = "fails only where there is no memory";

/// A Zstandard stream that is being written.
pub(super) struct Zstd {
    /// None once it was handed back.
    context: Option<CCtx<'static>>,
    kept: bool,
}

/// Level, window, and tables for long and for short matches, the latter three as powers of two.
struct Shape(i32, u32, u32, u32);

impl Zstd {
    pub(super) fn new(purpose: Purpose) -> Self {
        let shape = match purpose {
            // 600 KiB; as small as the whole of level 3, which takes 3.6 MiB.
            Purpose::Passing { .. } => Shape(3, 16, 14, 14),
            // 160 KiB, for as long as the stream lasts.
            Purpose::Endless => Shape(3, 14, 12, 11),
            Purpose::Kept => Shape(9, 20, 17, 17),
        };
        let kept = matches!(purpose, Purpose::Passing { .. });
        let spare = if kept { CCtx::take() } else { None };
        Self {
            context: Some(spare.unwrap_or_else(|| shape.context())),
            kept,
        }
    }

    pub(super) fn push(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let Some(context) = &mut self.context else {
            return;
        };
        let mut input = InBuffer::around(input);
        while input.pos() < input.src.len() {
            let mut out = room(out);
            context
                .compress_stream(&mut out, &mut input)
                .expect(NO_MEMORY);
        }
    }

    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        self.run(out, CCtx::flush_stream);
    }

    /// Ends the frame, with `padding` behind it.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, padding: Option<usize>) {
        self.run(out, CCtx::end_stream);
        if let Some(length) = padding.and_then(|padding| u32::try_from(padding).ok()) {
            out.extend(SKIPPABLE.to_le_bytes());
            out.extend(length.to_le_bytes());
            out.resize(out.len() + length as usize, 0);
        }
    }

    fn run(
        &mut self,
        out: &mut Vec<u8>,
        step: fn(&mut CCtx<'static>, &mut OutBuffer<'_, Vec<u8>>) -> Result<usize, usize>,
    ) {
        let Some(context) = &mut self.context else {
            return;
        };
        while step(context, &mut room(out)).expect(NO_MEMORY) > 0 {}
    }
}

impl Shape {
    fn context(&self) -> CCtx<'static> {
        let Self(level, window, long, short) = *self;
        let mut context = CCtx::create();
        for parameter in [
            CParameter::CompressionLevel(level),
            CParameter::WindowLog(window),
            CParameter::HashLog(long),
            CParameter::ChainLog(short),
        ] {
            context
                .set_parameter(parameter)
                .expect("within the limits of the format");
        }
        context
    }
}

fn room(out: &mut Vec<u8>) -> OutBuffer<'_, Vec<u8>> {
    out.reserve(ROOM);
    let end = out.len();
    OutBuffer::around_pos(out, end)
}

impl Drop for Zstd {
    fn drop(&mut self) {
        if let Some(mut context) = self.context.take().filter(|_| self.kept)
            && context.reset(ResetDirective::SessionOnly).is_ok()
        {
            context.keep();
        }
    }
}

impl std::fmt::Debug for Zstd {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Zstd").finish_non_exhaustive()
    }
}
