//! Undoing content codings.

use std::io::Read;

use crate::support::Response;

/// The body as it was before it was coded.
pub(crate) fn decoded(response: &Response) -> Result<Vec<u8>, String> {
    let coding = response.field("content-encoding").unwrap_or_default();
    let body = response.body.as_slice();
    if body.is_empty() {
        return Ok(Vec::new());
    }
    let mut plain = Vec::new();
    let read = match &*coding {
        "gzip" => flate2::read::MultiGzDecoder::new(body).read_to_end(&mut plain),
        "zstd" => zstd::stream::read::Decoder::new(body)
            .and_then(|mut decoder| decoder.read_to_end(&mut plain)),
        "br" => brotli::Decompressor::new(body, 4096).read_to_end(&mut plain),
        _ => return Ok(body.to_vec()),
    };
    read.map_err(|error| format!("the body is no {coding}: {error}"))?;
    Ok(plain)
}
