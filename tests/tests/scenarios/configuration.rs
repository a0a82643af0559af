//! Configuration errors, as an administrator sees them before a program starts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use nix::sys::signal::Signal;
use wharf_tests::{gateway::Gateway, programs::workspace};

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
            words.contains("wharfd.toml, line 2, column 1: server: unknown field `url`"),
            "{words}"
        );
    }
}

/// The most likely mistakes, one for each file.
#[test]
fn a_wrong_type_is_told_with_its_key_and_how_that_is_written() {
    let gateway = Gateway::simulated();
    for (program, file, text, expected) in [
        (
            "wharfd",
            "wharfd.toml",
            "[server]\nuri = \"coaps://h\"\n",
            "wharfd.toml, line 1, column 1: server: invalid type: map, expected a sequence: write [[server]], in two \
             brackets, and its keys on the lines below",
        ),
        (
            "wharfd",
            "wharfd.toml",
            "endpoint = gateway-17\n",
            "wharfd.toml, line 1, column 12: endpoint: string values must be quoted, expected literal string: write \
             endpoint = \"gateway-17\"",
        ),
        (
            "wharf-installer",
            "installer.toml",
            "[quota]\nfiles = \"many\"\n",
            "installer.toml, line 2, column 9: quota.files: invalid type: string \"many\", expected usize: write a \
             number: files = 32",
        ),
    ] {
        gateway.write(&format!("etc/wharfd/{file}"), text);
        let (code, words) = run(&gateway, program, &["--check-config"]);
        assert_eq!(code, Some(78), "{words}");
        assert!(words.contains(expected), "{words}");
    }
}

/// A UDP port on loopback belongs to any local user while the server is down.
#[test]
fn a_server_on_loopback_is_refused_with_78_unless_it_may_be_unprotected() {
    let gateway = Gateway::simulated();
    for host in ["127.0.0.1", "[::1]", "localhost"] {
        let server = format!("endpoint = \"x\"\n[[server]]\nuri = \"coap://{host}:1\"\n");
        gateway.write("etc/wharfd/wharfd.toml", &server);
        for arguments in [&["--check-config"][..], &[]] {
            let (code, words) = run(&gateway, "wharfd", arguments);
            assert_eq!(code, Some(78), "{host}, {arguments:?}: {words}");
            for word in [
                "wharfd.toml, line 3",
                "any user of this machine",
                "unprotected = true",
            ] {
                assert!(words.contains(word), "{word:?} is not in {words}");
            }
        }
        let allowed = format!("{server}unprotected = true\n");
        gateway.write("etc/wharfd/wharfd.toml", &allowed);
        let (code, words) = run(&gateway, "wharfd", &["--check-config"]);
        assert_eq!(code, Some(0), "{host}: {words}");
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
    let said = wharfd.errors().wait_for("The old configuration stays");
    assert!(said.contains("wharfd.toml, line 1"), "{said}");
    assert!(wharfd.is_running());
}

/// The keys of each table; those of the file itself have no table.
type Keys = BTreeMap<String, BTreeSet<String>>;

#[test]
fn a_manual_page_has_each_key_that_the_program_knows_and_no_other() {
    let guide = fs::read_to_string(workspace().join("docs/operator.md")).unwrap();
    for (program, file, tables) in [
        (
            "wharfd",
            "wharfd.toml",
            &[
                "",
                "[[server]]",
                "[package.NAME]",
                "[download]",
                "[device]",
                "[timing]",
            ][..],
        ),
        (
            "wharf-installer",
            "installer.toml",
            &["", "[quota]", "[back]", "[[key]]"],
        ),
    ] {
        let known: Keys = tables
            .iter()
            .map(|table| ((*table).to_owned(), keys_known(program, file, table)))
            .collect();
        assert_eq!(keys_documented(file), known, "{file}.5");
        for key in known.values().flatten() {
            // `key`, `[table] key`, `table.key`
            let named = [
                format!("`{key}`"),
                format!(".{key}`"),
                format!("`{key}."),
                format!("[{key}"),
            ];
            let is_there = named.iter().any(|name| guide.contains(name));
            assert!(is_there, "operator.md has no {key} of {file}");
        }
    }
}

/// The keys that the program expects in place of an unknown one.
fn keys_known(program: &str, file: &str, table: &str) -> BTreeSet<String> {
    let gateway = Gateway::simulated();
    gateway.write(
        &format!("etc/wharfd/{file}"),
        &format!("{table}\nno-key = 1\n"),
    );
    let (code, words) = run(&gateway, program, &["--check-config"]);
    assert_eq!(code, Some(78), "{words}");
    let (_, expected) = words
        .split_once("unknown field `no-key`, expected ")
        .unwrap_or_else(|| panic!("{program} does not say what it knows in {table:?}: {words}"));
    let quoted = expected
        .lines()
        .next()
        .unwrap()
        .split('`')
        .skip(1)
        .step_by(2);
    quoted.map(str::to_owned).collect()
}

/// The keys of a page's lists (mdoc(7), `.It Cm`), by its subsections, which are tables and so keys themselves.
fn keys_documented(file: &str) -> Keys {
    let page = fs::read_to_string(workspace().join("docs/man").join(format!("{file}.5"))).unwrap();
    let mut table = "";
    let mut keys = Keys::new();
    for line in page.lines() {
        if let Some(name) = line.strip_prefix(".Ss ") {
            table = name;
            let key = name.trim_matches(['[', ']']).split('.').next().unwrap();
            keys.entry(String::new())
                .or_default()
                .insert(key.to_owned());
        } else if let Some(key) = line.strip_prefix(".It Cm ") {
            keys.entry(table.to_owned())
                .or_default()
                .insert(key.to_owned());
        }
    }
    keys
}
