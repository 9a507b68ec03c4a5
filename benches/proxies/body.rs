//! The bodies that the app serves: letters, and HTML with about the redundancy of a real page.

use std::fmt::Write;

pub(crate) const ONE_KIB: usize = 1024;

/// The answer to a POST.
pub(crate) const POSTED: &[u8] = b"ok\n";

/// Where the app serves a file, the name of the file below its root, and its size.
const FILES: &[(&str, &str, usize)] = &[
    ("/1k", "1k", ONE_KIB),
    ("/100k", "100k", 100 * 1024),
    ("/binary", "binary", ONE_KIB),
    ("/note", "note", 900),
    ("/hit", "hit", 20 * 1024),
    ("/hit-gzip", "hit-gzip", 20 * 1024),
    ("/download/100k", "100k", 100 * 1024),
    ("/download/100m", "100m", 100 * 1024 * 1024),
    ("/page", "page", 30 * 1024),
];

/// The name and the contents of each file of the app.
pub(crate) fn files() -> impl Iterator<Item = (&'static str, Vec<u8>)> {
    FILES.iter().map(|(path, name, _)| (*name, of(path)))
}

/// What a GET of `path` is answered with; nothing where there is no such file.
pub(crate) fn of(path: &str) -> Vec<u8> {
    match FILES.iter().find(|(known, ..)| *known == path) {
        Some((_, "note" | "hit" | "hit-gzip" | "page", size)) => page(*size),
        Some((.., size)) => letters(*size),
        None => Vec::new(),
    }
}

/// Letters that can be told apart from an error page.
pub(crate) fn letters(size: usize) -> Vec<u8> {
    (b'a'..=b'z').cycle().take(size).collect()
}

/// The first `size` bytes of a list of articles, such as an app would render: the same markup around words, numbers,
/// tokens and names that differ.
fn page(size: usize) -> Vec<u8> {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let mut page = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n  <meta charset=\"utf-8\">\n  <title>Articles</title>\n  \
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n  \
         <meta name=\"csrf-token\" content=\"{}\">\n  \
         <link rel=\"stylesheet\" href=\"/assets/application-{}.css\" data-turbo-track=\"reload\">\n  \
         <script src=\"/assets/application-{}.js\" type=\"module\"></script>\n</head>\n<body>\n<main class=\"container\">\n",
        dice.token(86),
        dice.token(64),
        dice.token(64),
    );
    while page.len() < size {
        article(&mut page, &mut dice);
    }
    page.truncate(size);
    page.into_bytes()
}

fn article(page: &mut String, dice: &mut Dice) {
    let id = 10_000 + dice.below(90_000);
    let (title, teaser) = (dice.words(4), dice.words(28));
    let (author, tag) = (dice.words(2), dice.words(1));
    let (day, month, comments) = (1 + dice.below(28), 1 + dice.below(12), dice.below(120));
    write!(
        page,
        "  <article id=\"article_{id}\" class=\"card card--wide\" data-controller=\"article\">\n    \
         <h2 class=\"card__title\"><a href=\"/articles/{id}-{}\">{title}</a></h2>\n    \
         <p class=\"card__meta\">by <a href=\"/people/{}\">{author}</a> on \
         <time datetime=\"2026-{month:02}-{day:02}\">{day}.{month}.2026</time></p>\n    \
         <p class=\"card__teaser\">{teaser}.</p>\n    \
         <img src=\"/uploads/{}.jpg\" alt=\"\" width=\"640\" height=\"360\" loading=\"lazy\">\n    \
         <footer><a class=\"tag\" href=\"/tags/{tag}\">{tag}</a> <span class=\"count\">{comments} comments</span></footer>\n  \
         </article>\n",
        title.replace(' ', "-"),
        author.replace(' ', "-"),
        dice.token(24),
    )
    .expect("a String takes all that is written to it");
}

/// Pseudo-random choices, the same in every run: xorshift64.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    /// So many digits of base 16, which no coding can shorten by more than half.
    fn token(&mut self, digits: usize) -> String {
        (0..digits)
            .map(|_| char::from(b"0123456789abcdef"[self.below(16)]))
            .collect()
    }

    /// So many words; as in any language, a few of them are most of the text.
    fn words(&mut self, count: usize) -> String {
        let words: Vec<&str> = (0..count)
            .map(|_| {
                let limit = 1 + self.below(WORDS.len());
                WORDS[self.below(limit)]
            })
            .collect();
        words.join(" ")
    }
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "the", "of", "and", "to", "a", "in", "is", "that", "for", "it", "was", "on", "with", "as", "by", "at", "from", "this",
    "have", "not", "but", "they", "which", "one", "all", "were", "her", "there", "been", "their", "more", "when", "who",
    "about", "after", "first", "other", "time", "people", "over", "water", "harbour", "season", "market", "letter", "garden",
    "signal", "winter", "morning", "engine", "station", "quarter", "machine", "balance", "kitchen", "thread", "journey",
    "village", "council", "history", "measure", "planet", "bridge", "copper", "silver", "lantern", "orchard", "question",
    "captain", "archive", "festival", "granite", "horizon", "island", "journal", "kingdom", "library", "meadow", "network",
    "official", "package", "railway", "shadow", "texture", "uniform", "valley", "weather", "yesterday", "zenith", "ambition",
    "blanket", "compass", "delivery", "elephant", "fortune", "glacier", "heritage", "inventor", "jubilee", "kindness",
    "landscape", "mountain", "notebook", "opposite", "passage", "quality", "remedy", "schedule", "telescope", "umbrella",
    "vineyard", "whisper", "expedition", "yearly", "carpenter", "diamond", "evening", "furnace", "gallery", "hammer",
];
