//! A request's errand at the app: what is to be remembered until its answer is there.

use std::{sync::Arc, time::Instant};

use http::{HeaderMap, Method};

use super::label::Why;
use crate::cache::{Asked, Keys, Lead, Question, Stored};

/// What is remembered. Boxed, and used again: most requests need room for one, and nothing else.
#[derive(Debug)]
pub(super) struct Errand {
    pub(super) keys: Keys,
    pub(super) method: Method,
    pub(super) why: Why,
    pub(super) question: Question,
    pub(super) asked: Asked,
    /// Whether the client's own conditions go to the app, so that a 304 is not about us.
    pub(super) conditional: bool,
    /// The request's headers as the client sent them, where they may be needed: for Vary, and to answer conditions.
    pub(super) headers: Option<HeaderMap>,
    /// What is stored, if it has to be validated.
    pub(super) stored: Option<Arc<Stored>>,
    /// The lead of those who wait for the same.
    pub(super) lead: Option<Lead>,
    pub(super) began: Instant,
}

impl Errand {
    pub(super) fn new() -> Self {
        Self {
            keys: Keys::default(),
            method: Method::GET,
            why: Why::Bypass,
            question: Question::default(),
            asked: Asked::default(),
            conditional: false,
            headers: None,
            stored: None,
            lead: None,
            began: Instant::now(),
        }
    }

    /// Forgets everything but its room.
    pub(super) fn clear(&mut self) {
        self.headers = None;
        self.stored = None;
        self.lead = None;
        self.asked = Asked::default();
    }

    /// Whether its answer may be stored at all.
    pub(super) fn fills(&self) -> bool {
        self.method == Method::GET
    }
}
