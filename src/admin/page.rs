//! The status page: one file, with all that it needs inside.

use std::sync::LazyLock;

use aws_lc_rs::digest::{SHA256, digest};
use base64::{Engine, engine::general_purpose::STANDARD};
use http::HeaderValue;

/// The page.
pub(super) const HTML: &str = include_str!("page.html");

/// What it may do: nothing but run its own script, wear its own style and ask us (CSP Level 3). Both are told by their hash,
/// so that nothing else that came to stand in the page would be run.
pub(super) fn policy() -> HeaderValue {
    static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
        let (style, script) = (hash("style"), hash("script"));
        let policy = format!(
            "default-src 'none'; style-src '{style}'; script-src '{script}'; connect-src 'self'; img-src data:; \
             base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
        );
        HeaderValue::try_from(policy).expect("letters, digits and punctuation make a value")
    });
    POLICY.clone()
}

fn hash(element: &str) -> String {
    let digest = digest(&SHA256, inside(element).as_bytes());
    format!("sha256-{}", STANDARD.encode(digest))
}

/// What stands between the tags, byte for byte.
fn inside(element: &str) -> &'static str {
    let (begin, end) = (format!("<{element}>"), format!("</{element}>"));
    let behind = HTML.split_once(&*begin).map_or("", |(_, behind)| behind);
    behind.split_once(&*end).map_or("", |(inside, _)| inside)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_has_one_style_one_script_and_nothing_from_elsewhere() {
        for element in ["style", "script"] {
            assert!(inside(element).len() > 1_000, "{element}");
            assert_eq!(HTML.matches(&format!("<{element}")).count(), 1, "{element}");
        }
        for foreign in [
            "http:",
            "https:",
            "//cdn",
            "src=",
            "@import",
            "url(",
            " style=",
            " onclick=",
        ] {
            assert!(!HTML.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn nothing_is_written_as_html_by_its_script() {
        for way in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!inside("script").contains(way), "{way}");
        }
    }

    #[test]
    fn what_it_may_do_is_told_by_hash() {
        let policy = policy();
        let policy = policy.to_str().unwrap();
        assert_eq!(policy.matches("'sha256-").count(), 2, "{policy}");
        assert!(policy.starts_with("default-src 'none'; ") && !policy.contains("unsafe"));
    }
}
