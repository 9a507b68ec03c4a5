//! Reads what the server's HPACK encoder wrote (RFC 7541).

use std::collections::VecDeque;

use super::{huffman, static_table::ENTRIES};

type Field = (String, String);

/// One connection's.
#[derive(Debug)]
pub(crate) struct Decoder {
    /// The newest first.
    table: VecDeque<Field>,
    size: usize,
    /// How large the encoder says that it keeps the table.
    capacity: usize,
    /// How large we allow it to be.
    allowed: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Decoder {
            table: VecDeque::new(),
            size: 0,
            capacity: 4096,
            allowed: 4096,
        }
    }
}

impl Decoder {
    /// To be called when the server has acknowledged our SETTINGS_HEADER_TABLE_SIZE.
    pub(crate) fn allow(&mut self, size: usize) {
        self.allowed = size;
    }

    /// The fields of a whole block.
    pub(crate) fn decode(&mut self, block: &[u8]) -> Result<Vec<Field>, String> {
        let mut block = Block(block);
        let mut fields = Vec::new();
        while let Some(first) = block.0.first().copied() {
            match first {
                0x80.. => fields.push(self.entry(block.integer(7)?)?),
                0x40.. => {
                    let field = self.literal(&mut block, 6)?;
                    self.remember(field.clone());
                    fields.push(field);
                }
                0x20.. if fields.is_empty() => self.resize(block.integer(5)?)?,
                0x20.. => return Err("a table size update behind a field".into()),
                _ => fields.push(self.literal(&mut block, 4)?),
            }
        }
        if self.capacity > self.allowed {
            return Err(format!(
                "a table of {} where {} are allowed",
                self.capacity, self.allowed
            ));
        }
        Ok(fields)
    }

    fn literal(&self, block: &mut Block<'_>, prefix: u8) -> Result<Field, String> {
        let name = match block.integer(prefix)? {
            0 => block.string()?,
            index => self.entry(index)?.0,
        };
        Ok((name, block.string()?))
    }

    fn entry(&self, index: usize) -> Result<Field, String> {
        let at = index.checked_sub(1).ok_or("index 0")?;
        match ENTRIES.get(at) {
            Some((name, value)) => Ok((name.to_string(), value.to_string())),
            None => {
                let entry = self.table.get(at - ENTRIES.len());
                entry
                    .cloned()
                    .ok_or_else(|| format!("nothing at index {index}"))
            }
        }
    }

    fn remember(&mut self, field: Field) {
        self.size += size_of(&field);
        self.table.push_front(field);
        self.evict();
    }

    fn resize(&mut self, capacity: usize) -> Result<(), String> {
        if capacity > self.allowed {
            return Err(format!(
                "a table of {capacity} where {} are allowed",
                self.allowed
            ));
        }
        self.capacity = capacity;
        self.evict();
        Ok(())
    }

    fn evict(&mut self) {
        while self.size > self.capacity {
            let oldest = self.table.pop_back().expect("it has the size");
            self.size -= size_of(&oldest);
        }
    }
}

/// As the table counts it (section 4.1).
fn size_of((name, value): &Field) -> usize {
    name.len() + value.len() + 32
}

/// What is left of a block.
struct Block<'a>(&'a [u8]);

impl Block<'_> {
    fn integer(&mut self, prefix: u8) -> Result<usize, String> {
        let most = (1 << prefix) - 1;
        let mut value = usize::from(self.octet()?) & most;
        if value < most {
            return Ok(value);
        }
        for shift in (0..).step_by(7).take(5) {
            let octet = self.octet()?;
            value += usize::from(octet & 127) << shift;
            if octet < 128 {
                return Ok(value);
            }
        }
        Err("an endless integer".into())
    }

    fn string(&mut self) -> Result<String, String> {
        let is_coded = self.0.first().is_some_and(|first| first & 128 != 0);
        let length = self.integer(7)?;
        let (text, rest) = self
            .0
            .split_at_checked(length)
            .ok_or("a string cut short")?;
        self.0 = rest;
        let text = match is_coded {
            true => huffman::decode(text).ok_or("a bad Huffman code")?,
            false => text.to_vec(),
        };
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn octet(&mut self) -> Result<u8, String> {
        let (first, rest) = self.0.split_first().ok_or("a block cut short")?;
        self.0 = rest;
        Ok(*first)
    }
}
