//! Text for people that may contain untrusted words: one printable, bounded line.

use std::fmt;

use minicbor::{Decode, Decoder, Encode, decode};

/// One bounded line of text. Control characters are escaped, and a long text is cut.
#[derive(Clone, PartialEq, Eq, Hash, Default, Encode)]
#[cbor(transparent)]
pub struct Text(String);

impl Text {
    /// The longest text, in bytes.
    pub const MAX: usize = 480;

    /// Makes one printable line of the words.
    pub fn new(words: &str) -> Self {
        Self::within(words, Self::MAX)
    }

    /// `self; then` as one text. If it is too long, each part is cut to the space that the other leaves, or to half.
    pub fn followed_by(&self, then: &Self) -> Self {
        let room = Self::MAX - "; ".len();
        let share = |other: &Self| room - other.0.len().min(room / 2);
        let (first, second) = (share(then), share(self));
        Self(format!(
            "{}; {}",
            Self::within(&self.0, first),
            Self::within(&then.0, second)
        ))
    }

    fn within(words: &str, most: usize) -> Self {
        let mut line = String::new();
        for character in words.trim().chars() {
            let length = line.len();
            if character.is_control() || is_deceptive(character) {
                line.extend(character.escape_default());
            } else {
                line.push(character);
            }
            if line.len() > most {
                line.truncate(length);
                cut(&mut line, most);
                break;
            }
        }
        Self(line)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Characters that reverse or hide the text around them on a terminal or in a web page.
fn is_deceptive(character: char) -> bool {
    matches!(character, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn cut(line: &mut String, most: usize) {
    while line.len() > most - '…'.len_utf8() {
        line.pop();
    }
    line.push('…');
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl From<&str> for Text {
    fn from(words: &str) -> Self {
        Self::new(words)
    }
}

impl From<String> for Text {
    fn from(words: String) -> Self {
        Self::new(&words)
    }
}

impl<'b, C> Decode<'b, C> for Text {
    fn decode(d: &mut Decoder<'b>, _: &mut C) -> Result<Self, decode::Error> {
        Ok(Self::new(d.str()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_control_and_deceptive_characters() {
        assert_eq!(Text::new("a\u{1b}[2Jb\nc").as_str(), "a\\u{1b}[2Jb\\nc");
        assert_eq!(Text::new("gpj\u{202e}.deb").as_str(), "gpj\\u{202e}.deb");
    }

    #[test]
    fn cuts_a_long_text_between_characters() {
        let text = Text::new(&"é".repeat(1000));
        assert!(
            text.as_str().len() <= Text::MAX,
            "{} bytes",
            text.as_str().len()
        );
        assert!(text.as_str().ends_with("é…"));
    }

    #[test]
    fn two_texts_share_the_space_of_one() {
        let long = |letter: &str| Text::new(&letter.repeat(1000));
        let short = Text::new("acme 1.4 is in place and runs");
        assert_eq!(
            Text::new("why").followed_by(&short).as_str(),
            format!("why; {short}")
        );
        for (first, second) in [
            (long("a"), short.clone()),
            (short.clone(), long("b")),
            (long("a"), long("é")),
        ] {
            let both = first.followed_by(&second);
            assert!(
                (Text::MAX - 1..=Text::MAX).contains(&both.as_str().len()),
                "{both}"
            );
            assert_eq!(Text::new(both.as_str()), both);
            let (one, other) = both.as_str().split_once("; ").unwrap();
            assert_eq!(one == short.as_str(), first == short, "{both}");
            assert_eq!(other == short.as_str(), second == short, "{both}");
        }
    }

    #[test]
    fn escaping_a_text_twice_changes_nothing() {
        let once = Text::new(&"x\u{7f}".repeat(500));
        assert_eq!(Text::new(once.as_str()), once);
    }
}
