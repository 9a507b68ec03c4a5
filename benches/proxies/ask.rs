//! What each load row asks for, and which answer is right.

use crate::body;
use crate::row::Load;

/// The request of a load row, and what is to come of it.
#[derive(Debug)]
pub(crate) struct Ask {
    /// What the report calls it.
    pub(crate) label: &'static str,
    pub(crate) path: &'static str,
    /// What wrk.lua makes of the request.
    pub(crate) kind: Kind,
    /// The value of Accept-Encoding.
    pub(crate) accept: Option<&'static str>,
    /// The codings of which one must have been applied; none may where this is empty.
    pub(crate) codings: &'static [&'static str],
    /// Whether the answer must come from a cache.
    pub(crate) is_hit: bool,
    /// Whether it takes so long that few connections are load enough, and that one under way counts by its bytes.
    pub(crate) is_large: bool,
}

/// How the request differs from a plain GET.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Kind {
    Get,
    Close,
    Post,
}

/// What today's browsers send.
const BROWSER: Option<&str> = Some("gzip, deflate, br, zstd");

impl Ask {
    const fn get(label: &'static str, path: &'static str) -> Self {
        Self {
            label,
            path,
            kind: Kind::Get,
            accept: None,
            codings: &[],
            is_hit: false,
            is_large: false,
        }
    }

    /// The request as it goes out.
    pub(crate) fn request(&self) -> Vec<u8> {
        let method = match self.kind {
            Kind::Post => "POST",
            Kind::Get | Kind::Close => "GET",
        };
        let mut head = format!("{method} {} HTTP/1.1\r\nHost: localhost\r\n", self.path);
        if let Some(accept) = self.accept {
            head += &format!("Accept-Encoding: {accept}\r\n");
        }
        match self.kind {
            Kind::Get => format!("{head}\r\n").into(),
            Kind::Close => format!("{head}Connection: close\r\n\r\n").into(),
            Kind::Post => {
                let head = format!("{head}Content-Length: {}\r\n\r\n", body::ONE_KIB);
                [head.into_bytes(), body::letters(body::ONE_KIB)].concat()
            }
        }
    }

    /// The body once it is decoded.
    pub(crate) fn body(&self) -> Vec<u8> {
        match self.kind {
            Kind::Post => body::POSTED.into(),
            Kind::Get | Kind::Close => body::of(self.path),
        }
    }
}

impl Load {
    pub(crate) fn ask(self) -> Ask {
        match self {
            Self::OneKib => Ask::get("1 KiB, keep-alive", "/1k"),
            Self::HundredKib => Ask::get("100 KiB, keep-alive", "/100k"),
            Self::NewConnection => Ask {
                kind: Kind::Close,
                ..Ask::get("1 KiB, new connection each", "/1k")
            },
            Self::Post => Ask {
                kind: Kind::Post,
                ..Ask::get("POST of 1 KiB, keep-alive", "/post")
            },
            Self::Untouched => Ask::get("1 KiB, nothing to do", "/binary"),
            Self::UntouchedBrowser => Ask {
                accept: BROWSER,
                ..Ask::get("900 B of HTML to a browser, nothing to do", "/note")
            },
            Self::Hit => Ask {
                is_hit: true,
                ..Ask::get("cached 20 KiB", "/hit")
            },
            Self::HitGzip => Ask {
                accept: Some("gzip"),
                codings: &["gzip"],
                is_hit: true,
                ..Ask::get("cached 20 KiB, in gzip", "/hit-gzip")
            },
            Self::SendfileSmall => Ask::get("X-Sendfile of 100 KiB", "/download/100k"),
            Self::SendfileLarge => Ask {
                is_large: true,
                ..Ask::get("X-Sendfile of 100 MiB", "/download/100m")
            },
            Self::Gzip => Ask {
                accept: Some("gzip"),
                codings: &["gzip"],
                ..Ask::get("30 KiB of HTML, gzip on the fly", "/page")
            },
            // Who has no zstd answers with gzip, as it would to a browser.
            Self::Zstd => Ask {
                accept: BROWSER,
                codings: &["zstd", "gzip"],
                ..Ask::get("30 KiB of HTML to a browser, on the fly", "/page")
            },
        }
    }
}
