//! What a request says about the form of its answer, kept while it is on its way.

use http::{HeaderMap, HeaderName, Method, header};

use crate::{
    files::Way,
    handler::{Downstream, Request},
};

/// What decides how a file is sent.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) reads: Reads,
    /// Range and the conditions, if there are any: most requests have none.
    conditions: Option<Box<HeaderMap>>,
    /// How the bytes get to the client.
    pub(super) way: Way,
}

/// Which of the methods that have conditions and ranges.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reads {
    Get,
    Head,
    /// None of them.
    No,
}

impl Asked {
    pub(super) fn by(request: &Request) -> Self {
        let reads = match request.head.method {
            Method::GET => Reads::Get,
            Method::HEAD => Reads::Head,
            _ => Reads::No,
        };
        let headers = &request.head.headers;
        let any = reads != Reads::No && headers.keys().any(is_condition);
        Self {
            reads,
            conditions: any.then(|| Box::new(conditions_of(headers))),
            way: way_to(&*request.client.connection),
        }
    }

    /// Whether the method is GET or HEAD.
    pub(super) fn reads(&self) -> bool {
        self.reads != Reads::No
    }

    /// Range and the conditions.
    pub(super) fn conditions(&self) -> Option<&HeaderMap> {
        self.conditions.as_deref()
    }

    /// The method, of those that it can be told by.
    pub(super) fn method(&self) -> Method {
        match self.reads {
            Reads::Head => Method::HEAD,
            Reads::Get | Reads::No => Method::GET,
        }
    }
}

fn way_to(connection: &dyn Downstream) -> Way {
    match connection.sends_files() {
        true => Way::Sendfile,
        false => Way::Read,
    }
}

fn is_condition(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::RANGE
            | header::IF_RANGE
            | header::IF_MATCH
            | header::IF_NONE_MATCH
            | header::IF_MODIFIED_SINCE
            | header::IF_UNMODIFIED_SINCE
    )
}

fn conditions_of(headers: &HeaderMap) -> HeaderMap {
    let of_it = |(name, _): &(&HeaderName, _)| is_condition(name);
    let mut conditions = HeaderMap::new();
    for (name, value) in headers.iter().filter(of_it) {
        conditions.append(name, value.clone());
    }
    conditions
}
