//! Chance, so that a thousand containers do not ask a CA in the same second.

/// A number from 0 to 1, without 1.
pub(super) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without chance it is no chance; nothing here has to be secret.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
