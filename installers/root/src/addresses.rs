//! Addresses in the output of programs. They may have a password or a token.

/// The text with each address as `show` shows it, which gets the part after `://`.
pub fn shown(text: &str, show: impl Fn(&str) -> String) -> String {
    const BEGIN: &str = "://";
    let ends = |letter: char| letter.is_whitespace() || matches!(letter, '"' | '<' | '>');
    let (mut shown, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once(BEGIN) {
        let (address, following) = after.split_at(after.find(ends).unwrap_or(after.len()));
        shown.push_str(before);
        shown.push_str(BEGIN);
        shown.push_str(&show(address));
        rest = following;
    }
    shown + rest
}
