//! Keys and certificates as text; RFC 7468.

use base64::{Engine, prelude::BASE64_STANDARD};

/// Writes `der` under `label`, in lines of 64 characters.
pub(super) fn encode(label: &str, der: &[u8]) -> String {
    let text = BASE64_STANDARD.encode(der);
    let mut pem = format!("-----BEGIN {label}-----\n");
    let mut rest = &*text;
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        pem += line;
        pem.push('\n');
        rest = after;
    }
    pem += &format!("-----END {label}-----\n");
    pem
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};
    use rustls::pki_types::{CertificateDer, pem::PemObject};

    use super::*;

    proptest! {
        #[test]
        fn what_is_written_is_read_again(der in vec(any::<u8>(), 0..200)) {
            let text = encode("CERTIFICATE", &der);
            prop_assert!(text.lines().all(|line| line.len() <= 64));
            let read = CertificateDer::from_pem_slice(text.as_bytes()).unwrap();
            prop_assert_eq!(read.as_ref(), der);
        }
    }
}
