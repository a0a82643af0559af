//! Guesses the name of a package from the name of its file, before the file is read.

use wharf_frames::PackageName;

/// `hello` of `hello_1.0-1_all.TYPE` or of `hello-1.0-1.x86_64.TYPE`: distributions name their files in one of these forms.
pub fn package(file: &str) -> Option<PackageName> {
    let (name, others) = match before_dashes(file) {
        Some(name) => (name, "+-._"),
        None => (file.split_once('_')?.0, "+-."),
    };
    let of_a_name = |byte: u8| {
        let is_letter =
            byte.is_ascii_lowercase() || others.contains('_') && byte.is_ascii_uppercase();
        is_letter || byte.is_ascii_digit() || others.as_bytes().contains(&byte)
    };
    let is_name = name.bytes().all(of_a_name);
    PackageName::new(name).ok().filter(|_| is_name)
}

/// `NAME` of `NAME-VERSION-RELEASE.ARCHITECTURE.TYPE`. An architecture begins with a letter.
fn before_dashes(file: &str) -> Option<&str> {
    let (rest, _) = file.rsplit_once('.')?;
    let (rest, architecture) = rest.rsplit_once('.')?;
    let is_architecture = architecture.starts_with(|first: char| first.is_ascii_lowercase())
        && !architecture.contains(['-', '+', '~']);
    let (rest, release) = rest.rsplit_once('-')?;
    let (name, version) = rest.rsplit_once('-')?;
    let has_all = [release, version].iter().all(|part| !part.is_empty());
    (is_architecture && has_all).then_some(name)
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
            ("https://h/lib-a_1.0-1.2_amd64.deb", Some("lib-a")),
            ("https://h/lib-a_1.0-1~bpo12+1_arm64.deb", Some("lib-a")),
            ("https://h/hello-1.0-1.noarch.rpm", Some("hello")),
            ("https://h/lib-a-1.0~rc1-1.el9.x86_64.rpm", Some("lib-a")),
            ("https://h/Perl_x-1.0-1.aarch64.rpm", Some("Perl_x")),
            ("https://h/hello_1.0-r0_cortexa7_neon.ipk", Some("hello")),
            ("https://h/hello-1.0.noarch.rpm", None),
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
