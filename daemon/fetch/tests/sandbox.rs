//! The permissions in the sandbox. Landlock restricts a thread, so that the test enters it in a thread.

use std::{fs::File, io::ErrorKind, net::TcpListener, thread};

use wharf_fetch::sandbox;

#[test]
fn no_file_is_written_and_none_is_read_that_downloading_does_not_need() {
    if !is_supported() {
        eprintln!("skipped: this kernel has no landlock");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let there = folder.path().join("there");
    std::fs::write(&there, "x").unwrap();
    let needed = ["/etc/hosts", "/etc/nsswitch.conf", "/etc/ssl/openssl.cnf"];
    let before = readable_of(&needed);
    let tried = thread::spawn(move || {
        sandbox::enter();
        let denied = [
            File::open(&there).err(),
            File::open("/etc/passwd").err(),
            File::options().write(true).open(&there).err(),
            File::create(there.with_file_name("new")).err(),
            std::fs::remove_file(&there).err(),
            std::process::Command::new("/bin/true").spawn().err(),
            TcpListener::bind("127.0.0.1:0").err(),
        ];
        (denied, readable_of(&needed))
    });
    let (denied, read) = tried.join().unwrap();
    let denied = denied.map(|error| error.map(|error| error.kind()));
    assert_eq!(denied, [Some(ErrorKind::PermissionDenied); 7]);
    assert_eq!(read, before);
}

/// The files that are present and readable.
fn readable_of(files: &[&'static str]) -> Vec<&'static str> {
    let can_be_read = files.iter().filter(|file| File::open(file).is_ok());
    can_be_read.copied().collect()
}

fn is_supported() -> bool {
    use landlock::{ABI, Access, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(ABI::V1))
        .and_then(Ruleset::create)
        .is_ok()
}
