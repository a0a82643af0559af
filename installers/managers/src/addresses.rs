//! Addresses of sources in the output of programs. A source may need a password or a token.

use wharf_root::addresses;

/// The text with the scheme and the host of each URL, `http://a.example/…`: the rest may have a token or a signature, as
/// in the target of a redirect. The part before `@` is a user with a password, and an unescaped one may contain `/`. It is for
/// programs that speak with sources; the output of others loses users and passwords alone ([`wharf_root::process::Printed`]).
pub(crate) fn without_paths(text: &str) -> String {
    addresses::shown(text, |url| {
        let (host, path) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
        let host = match path.contains('@') {
            true => "",
            false => host.rsplit('@').next().unwrap_or_default(),
        };
        let path = match path {
            "" | "/" => path,
            _ => "/…",
        };
        [host, path].concat()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_url_only_the_scheme_and_the_host_are_told() {
        for (printed, told) in [
            ("", ""),
            ("a: b // c", "a: b // c"),
            (
                "Failed to fetch copy:/srv/r/./a.deb",
                "Failed to fetch copy:/srv/r/./a.deb",
            ),
            ("http://a.example/ http://b", "http://a.example/ http://b"),
            (
                "E: Failed to fetch https://a.example:8/token/a_1.deb?sig=x#y  404  Not Found [IP: ::1 80]\nW: x",
                "E: Failed to fetch https://a.example:8/…  404  Not Found [IP: ::1 80]\nW: x",
            ),
            (
                "Redirection to 'https://a.example?token=x' \"http://b/c\" <d://e/f>",
                "Redirection to 'https://a.example/… \"http://b/…\" <d://e/…>",
            ),
            ("http://me:secret@a.example/b/", "http://a.example/…"),
            ("http://me:sec/ret@a.example/b", "http:///…"),
            ("http://me:sec?ret@a@b/", "http:///…"),
            ("http://a://b/c", "http://a:/…"),
        ] {
            assert_eq!(without_paths(printed), told, "{printed}");
        }
    }
}
