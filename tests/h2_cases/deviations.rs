//! Where h2 (the crate) says PROTOCOL_ERROR to the whole connection, and the RFC something more exact.
//!
//! No client that is in order ever sees the difference. A row that is no longer true fails its case, and so goes.

/// A code of its own is due: COMPRESSION_ERROR, RFC 9113 section 4.3.
const CODES: &[&str] = &[
    "7541-2.3.3 a name beyond both tables",
    "7541-2.3.3 an index beyond both tables",
    "7541-2.3.3 an index in trailers",
    "7541-2.3.3 the first index beyond the static table while the other is empty",
    "7541-4.2 a size behind the fields",
    "7541-4.2 a size between the fields",
    "7541-4.3 a size of 0 empties the table",
    "7541-4.4 an entry that is larger than the table empties it",
    "7541-4.4 old entries make room for new ones",
    "7541-5.1 an integer beyond all bounds",
    "7541-5.1 an integer of many octets that say nothing",
    "7541-5.1 an integer that does not end",
    "7541-5.1 the length of a string beyond all bounds",
    "7541-5.2 EOS in a string",
    "7541-5.2 a field without its value",
    "7541-5.2 a name with a bad code",
    "7541-5.2 a string that is longer than its block",
    "7541-5.2 filling of more than seven bits",
    "7541-5.2 filling with zeros",
    "7541-6.1 index 0",
    "7541-6.2.2 what is to be forgotten is not in the table",
    "7541-6.3 a size beyond all bounds",
    "7541-6.3 a size beyond the server's SETTINGS",
    "9113-4.3 a block that does not decode",
];

/// The stream alone would do, as long as its fields decode. Section 5.4.1 lets an endpoint end the connection.
const SCOPES: &[&str] = &[
    "9113-10.3 a :method with CR and LF",
    "9113-10.3 a :method with a space",
    "9113-8.1 trailers with an upper-case name",
    "9113-8.2.1 a name beyond ASCII",
    "9113-8.2.1 a name that ends in a colon",
    "9113-8.2.1 a name that ends in a space",
    "9113-8.2.1 a name with CR and LF",
    "9113-8.2.1 a name with DEL",
    "9113-8.2.1 a name with NUL",
    "9113-8.2.1 a name with a colon",
    "9113-8.2.1 a name with a space",
    "9113-8.2.1 a name with an upper-case letter",
    "9113-8.2.1 a name with an upper-case letter in the middle",
    "9113-8.2.1 a name without a letter",
    "9113-8.2.1 a value with CR",
    "9113-8.2.1 a value with CR and LF",
    "9113-8.2.1 a value with LF",
    "9113-8.2.1 a value with NUL",
    "9113-8.3 a pseudo-field that nobody knows",
    "9113-8.3 a pseudo-field with an upper-case name",
    "9113-8.3 a pseudo-field without a name",
    "9113-8.3.1 an empty :method",
];

/// Whether a case of this name is one of them.
pub(crate) fn names(case: &str) -> bool {
    CODES.contains(&case) || SCOPES.contains(&case)
}
