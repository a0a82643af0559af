//! Guesses the name of a package from the name of its file, before the file is read.

use wharf_frames::PackageName;

/// `hello` of `hello_1.0-1_all.TYPE`: several distributions name their files in this form.
pub fn package(file: &str) -> Option<PackageName> {
    let (name, _) = file.split_once('_')?;
    let of_a_name =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte);
    let is_name = name.bytes().all(of_a_name);
    PackageName::new(name).ok().filter(|_| is_name)
}

#[cfg(test)]
mod tests {
    use wharf_software::PackageUri;

    use super::*;

    #[test]
    fn a_file_is_called_as_its_package() {
        for (uri, name) in [
            ("https://h/pool/hello_1.0-1_all.deb", Some("hello")),
            (
                "https://h/libc++1_1.0_amd64.deb?token=a/b_c#d",
                Some("libc++1"),
            ),
            ("https://h/hello_1.0-1_all.deb", Some("hello")),
            ("https://h/hello.deb", None),
            ("https://h/_1.0", None),
            ("https://h/a%20b_1.0.deb", None),
            ("https://h_1/", None),
            ("https://h", None),
        ] {
            let parsed = PackageUri::parse(uri.as_bytes()).unwrap();
            let found = parsed.file_name().and_then(package);
            assert_eq!(found.as_ref().map(PackageName::as_str), name, "{uri}");
        }
    }
}
