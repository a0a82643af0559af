//! What an administrator sees when something is wrong before anything runs.

use nix::sys::signal::Signal;
use wharf_tests::gateway::Gateway;

fn run(gateway: &Gateway, program: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let output = gateway
        .command(program, &[])
        .args(arguments)
        .output()
        .unwrap();
    let words = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(words).unwrap())
}

#[test]
fn a_wrong_configuration_ends_with_78_and_names_file_and_line() {
    let gateway = Gateway::simulated();
    gateway.write(
        "etc/wharfd/wharfd.toml",
        "[[server]]\nurl = \"coap://127.0.0.1\"\n",
    );
    for arguments in [&[][..], &["--check-config"]] {
        let (code, words) = run(&gateway, "wharfd", arguments);
        assert_eq!(code, Some(78), "{words}");
        assert!(
            words.contains("wharfd.toml, line 2") && words.contains("url"),
            "{words}"
        );
    }
}

#[test]
fn a_sound_configuration_is_told_so() {
    let gateway = Gateway::simulated();
    gateway.configure("coap://127.0.0.1:1", "");
    let (code, words) = run(&gateway, "wharfd", &["--check-config"]);
    assert_eq!(code, Some(0), "{words}");
    assert!(words.contains("sound"), "{words}");
}

#[test]
fn a_wrong_policy_ends_with_78_and_names_file_and_line() {
    let gateway = Gateway::simulated();
    gateway.write("etc/wharfd/installer.toml", "\nallow-unsinged = true\n");
    let (code, words) = run(&gateway, "wharf-installer", &["--check-config"]);
    assert_eq!(code, Some(78), "{words}");
    assert!(
        words.contains("installer.toml") && words.contains('2'),
        "{words}"
    );
}

#[test]
fn a_second_wharfd_on_the_same_database_says_so() {
    let set = crate::stage_set::StageSet::simulated();
    let (code, words) = run(&set.gateway, "wharfd", &[]);
    assert_eq!(code, Some(1), "{words}");
    assert!(words.contains("another wharfd"), "{words}");
}

#[test]
fn a_hangup_with_a_wrong_configuration_keeps_the_old_one() {
    let mut set = crate::stage_set::StageSet::simulated();
    set.gateway
        .write("etc/wharfd/wharfd.toml", "endpont = \"x\"\n");
    let wharfd = set.gateway.daemon();
    wharfd.signal(Signal::SIGHUP);
    let said = wharfd.errors().wait_for("the old configuration stays");
    assert!(said.contains("wharfd.toml, line 1"), "{said}");
    assert!(wharfd.is_running());
}
