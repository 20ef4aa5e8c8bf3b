//! Closed lists of words that a file may use.

use topologies::suggest;

/// Declares an enum, a word for each variant, the list of all, and how words are read.
macro_rules! words {
    ($(#[$doc:meta])* $vis:vis enum $name:ident ($else:literal) { $($(#[$of:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Deserialize)]
        #[serde(try_from = "String")]
        $vis enum $name { $($(#[$of])* $variant,)+ }

        impl $name {
            /// All of them.
            $vis const ALL: &[Self] = &[$(Self::$variant,)+];

            /// Its word.
            #[must_use]
            $vis const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                let found = Self::ALL.iter().find(|one| one.word() == word);
                let known = || Self::ALL.iter().map(|one| one.word());
                found.copied().ok_or_else(|| super::words::unknown(word, $else, known))
            }
        }

        impl TryFrom<String> for $name {
            type Error = String;

            fn try_from(word: String) -> Result<Self, String> {
                word.parse()
            }
        }
    };
}

pub(super) use words;

/// What is wrong with a word: what it is not, the nearest that is known, and all.
pub(super) fn unknown<I: Iterator<Item = &'static str>>(
    word: &str,
    what: &str,
    known: impl Fn() -> I,
) -> String {
    let nearest = suggest::nearest(word, known()).unwrap_or("none");
    let all = known().collect::<Vec<_>>().join(", ");
    format!("\"{word}\" is {what}; did you mean \"{nearest}\"? Known: {all}")
}
