//! A block of fields, in the plainest of HPACK's forms unless a test wants another.

use super::huffman;

/// Fields in their order, encoded one by one as they were added.
#[derive(Debug, Clone, Default)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    pub(crate) fn none() -> Self {
        Fields::default()
    }

    /// The four pseudo-fields of a request.
    pub(crate) fn request(method: &str, path: &str) -> Self {
        Fields::none()
            .and(":method", method)
            .and(":scheme", "http")
            .and(":authority", "test.example")
            .and(":path", path)
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::request("GET", path)
    }

    pub(crate) fn post(path: &str) -> Self {
        Self::request("POST", path)
    }

    /// A literal that no table remembers (RFC 7541 section 6.2.2).
    pub(crate) fn and(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.bytes([0]).bytes(string(name)).bytes(string(value))
    }

    /// A literal that the dynamic table remembers (section 6.2.1).
    pub(crate) fn and_remember(self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.bytes([0x40]).bytes(string(name)).bytes(string(value))
    }

    /// A literal for which a table has the name; `form` and its prefix say what becomes of it.
    pub(crate) fn and_named(
        self,
        form: u8,
        prefix: u8,
        name: u64,
        value: impl AsRef<[u8]>,
    ) -> Self {
        self.bytes(integer(form, prefix, name)).bytes(string(value))
    }

    /// A literal in Huffman's code.
    pub(crate) fn and_huffman(self, name: &str, value: &str) -> Self {
        self.bytes([0])
            .bytes(coded(huffman::encode(name.as_bytes())))
            .bytes(coded(huffman::encode(value.as_bytes())))
    }

    /// What a table has at this index (section 6.1).
    pub(crate) fn indexed(self, index: u64) -> Self {
        self.bytes(integer(0x80, 7, index))
    }

    /// A new size for the dynamic table (section 6.3).
    pub(crate) fn table_size(self, size: u64) -> Self {
        self.bytes(integer(0x20, 5, size))
    }

    /// Whatever a test wants to stand here.
    pub(crate) fn bytes(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }

    pub(crate) fn encoded(self) -> Vec<u8> {
        self.0
    }
}

impl From<Vec<u8>> for Fields {
    fn from(block: Vec<u8>) -> Self {
        Fields(block)
    }
}

/// An integer behind a form's leading bits (section 5.1).
pub(crate) fn integer(form: u8, prefix: u8, value: u64) -> Vec<u8> {
    let most = (1 << prefix) - 1;
    if value < most {
        return vec![form | u8::try_from(value).expect("less than eight bits")];
    }
    let mut octets = vec![form | u8::try_from(most).expect("at most eight bits")];
    let mut rest = value - most;
    while rest >= 128 {
        octets.push(u8::try_from(rest % 128).expect("seven bits") | 128);
        rest /= 128;
    }
    octets.push(u8::try_from(rest).expect("seven bits"));
    octets
}

/// A string as it is (section 5.2).
pub(crate) fn string(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [integer(0, 7, text.len() as u64), text.to_vec()].concat()
}

fn coded(text: Vec<u8>) -> Vec<u8> {
    [integer(0x80, 7, text.len() as u64), text].concat()
}
