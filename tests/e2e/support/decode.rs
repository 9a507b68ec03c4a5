//! Undoing content codings.

use std::io::Read;

use super::Response;

impl Response {
    /// The body as it was before it was coded; an error is what is wrong with it.
    pub(crate) fn decoded(&self) -> Result<Vec<u8>, String> {
        let coding = self.field("content-encoding").unwrap_or_default();
        let body = self.body.as_slice();
        let mut plain = Vec::new();
        let read = match &*coding {
            _ if body.is_empty() => return Ok(plain),
            "gzip" => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain),
            "zstd" => zstd::stream::read::Decoder::new(body)
                .and_then(|mut decoder| decoder.read_to_end(&mut plain)),
            "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
            _ => return Ok(body.to_vec()),
        };
        read.map_err(|error| format!("the body is no {coding}: {error}"))?;
        Ok(plain)
    }
}
