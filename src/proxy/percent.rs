//! Percent-encoding (RFC 3986 section 2.1), undone once.

use std::borrow::Cow;

/// The bytes that `text` stands for; a percent sign without two hexadecimal digits stands for itself.
pub(super) fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.contains(&b'%') {
        return Cow::Borrowed(text);
    }
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((first, behind)) = rest.split_first() {
        let byte = match behind {
            [high, low, ..] if *first == b'%' => digit(*high).zip(digit(*low)),
            _ => None,
        };
        (rest, _) = match byte {
            Some((high, low)) => (&behind[2..], decoded.push(high << 4 | low)),
            None => (behind, decoded.push(*first)),
        };
    }
    Cow::Owned(decoded)
}

/// The path of a URI, without its query.
pub(super) fn decoded_path(uri: &[u8]) -> Cow<'_, [u8]> {
    let query = uri.iter().position(|byte| *byte == b'?');
    decoded(&uri[..query.unwrap_or(uri.len())])
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte)
        .to_digit(16)
        .and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_undone_once() {
        for (text, expected) in [
            ("/a/b", &b"/a/b"[..]),
            ("/%61%2Fb", b"/a/b"),
            ("%2e%2E", b".."),
            ("%252e", b"%2e"),
            ("%", b"%"),
            ("%4", b"%4"),
            ("%zz%41", b"%zzA"),
            ("%%41", b"%A"),
            ("%00%ff", b"\0\xff"),
        ] {
            assert_eq!(decoded(text.as_bytes()).as_ref(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_encoded_comes_back(bytes: Vec<u8>) {
            let encoded: String = bytes.iter().map(|byte| format!("%{byte:02x}")).collect();
            let decoded = decoded(encoded.as_bytes());
            prop_assert_eq!(&*decoded, &*bytes);
        }
    }
}
