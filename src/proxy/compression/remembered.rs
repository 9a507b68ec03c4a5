//! What was found out about the values of a field: an app has few of them, and each response is asked about.

use std::cell::RefCell;

use http::HeaderValue;

/// How many values are remembered.
const VALUES: usize = 16;

/// Findings by value.
#[derive(Debug)]
pub(super) struct Remembered<T>(RefCell<Vec<(HeaderValue, T)>>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(RefCell::default())
    }
}

impl<T: Copy> Remembered<T> {
    /// What `find` finds of `value`, or has found.
    pub(super) fn of(&self, value: &HeaderValue, find: impl FnOnce(&HeaderValue) -> T) -> T {
        let mut known = self.0.borrow_mut();
        if let Some((_, found)) = known.iter().find(|(known, _)| known == value) {
            return *found;
        }
        let found = find(value);
        if known.len() == VALUES {
            known.clear();
        }
        // A copy: this one is a slice of the whole head that it came in.
        let copy = HeaderValue::from_bytes(value.as_bytes());
        known.extend(copy.ok().map(|copy| (copy, found)));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_looked_at_once_for_as_long_as_there_are_few() {
        let lengths = Remembered::default();
        let looks = std::cell::Cell::new(0);
        let length = |text: &str| {
            let value = HeaderValue::from_str(text).unwrap();
            lengths.of(&value, |value| {
                looks.set(looks.get() + 1);
                value.len()
            })
        };
        for _ in 0..3 {
            assert_eq!((length("a"), length("ab"), length("")), (1, 2, 0));
        }
        assert_eq!(looks.get(), 3);
        for number in 0..1_000 {
            let text = number.to_string();
            assert_eq!(length(&text), text.len());
            assert!(lengths.0.borrow().len() <= VALUES);
        }
    }
}
