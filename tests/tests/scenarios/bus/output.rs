//! The output of wharfctl: for a person, in JSON, on a terminal, for a shell.

use std::{
    fs,
    process::{Command, Stdio},
};

use serde_json::Value;
use wharf_tests::{
    gateway::Gateway,
    package::{Package, Script},
    process::Process,
    system_bus::SystemBus,
    waiting::wait_until,
};

use super::{NOBODY, OnBus, run};

#[test]
fn a_refusal_carries_the_text_of_the_machine() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    for (arguments, code, text) in [
        (
            &["delete", "0"][..],
            1,
            "hello 1.0.1 is in place: Uninstall first",
        ),
        (&["activate", "9"], 1, "there is no instance 9"),
        (&["install", "ftp://h/x.deb"], 1, "only http, https are"),
        (&["show", "none"], 1, "no instance has a package none"),
        (
            &["install", "hello"],
            1,
            "there is no file \"hello\": name a file, a URI",
        ),
        (&["instal"], 64, "unrecognized subcommand"),
        (&["install", "/"], 1, "wharfctl: / is not a regular file"),
        (
            &["keys", "check", "/"],
            1,
            "cannot read /: it is no regular file",
        ),
        (
            &["units", "two words"],
            1,
            "wharfctl: units \"two words\": a name",
        ),
        (
            &["install", "--user", "fleet", "--password-file", "/p", "/x"],
            64,
            "--user and --password-file need a URI",
        ),
    ] {
        let said = on_bus.wharfctl(arguments);
        assert_eq!(said.code, Some(code), "{arguments:?}: {said:?}");
        assert!(said.errors.contains(text), "{arguments:?}: {said:?}");
        assert!(!said.errors.contains("Usage: wharf-installer"), "{said:?}");
    }
}

#[test]
fn a_refusal_names_what_it_is_about() {
    let on_bus = OnBus::simulated();
    let said = on_bus.wharfctl(&["activate", "0"]);
    assert_eq!(
        said.errors,
        "wharfctl: instance 0: Activate has no effect in INITIAL\n"
    );
}

#[test]
fn a_change_in_json_is_told_as_watch_tells_it() {
    let on_bus = OnBus::simulated();
    let uri = on_bus.set.publish(&Package::new("hello", "1.0.1"));
    let last = |arguments: &[&str]| -> Value {
        let said = on_bus.done(&[&["--json"], arguments].concat());
        let lines = said.lines().map(serde_json::from_str::<Value>);
        let lines: Vec<Value> = lines.map(|line| line.expect(&said)).collect();
        lines.last().unwrap().clone()
    };
    let installed = last(&["install", "--instance", "0", &uri]);
    assert_eq!(installed["update_state_name"], "INSTALLED");
    assert_eq!(last(&["activate", "0"])["active"], true);
    assert_eq!(last(&["deactivate", "0"])["active"], false);
    assert_eq!(last(&["uninstall", "0"])["update_state_name"], "INITIAL");
    let deleted = serde_json::json!({ "id": 0, "deleted": true });
    assert_eq!(last(&["delete", "0"]), deleted);
}

#[test]
fn an_install_ends_with_the_dependencies_that_came_and_an_uninstall_with_those_that_nothing_needs()
{
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let sources = set.gateway.path().join("srv/wharf-simulated");
    fs::create_dir_all(&sources).unwrap();
    for library in ["libfoo", "libbar"] {
        let built = Package::new(library, "2").build_simulated(set.folder.path());
        fs::copy(built, sources.join(library)).unwrap();
    }
    let is_told = |arguments: &[&str], line: &str| {
        let said = on_bus.done(arguments);
        assert!(said.contains(line), "no {line:?} in {said}");
    };
    let uri = set.publish(&Package::new("hello", "1.0.1").depends("libfoo, libbar"));
    is_told(
        &["install", "--instance", "0", &uri],
        "\n  0  came with it, after the lists of the sources were fetched again: libfoo 2, libbar 2\n",
    );
    let uri = set.publish(&Package::new("hello", "1.0.2").depends("libfoo"));
    let upgraded = on_bus.done(&["install", "--instance", "0", &uri]);
    assert!(!upgraded.contains("came with it"), "{upgraded}");
    is_told(
        &["uninstall", "0"],
        "\n  0  nothing needs any more: libfoo\n",
    );
}

#[test]
fn watch_tells_each_change_until_the_package_is_installed() {
    let mut on_bus = OnBus::simulated();
    let mut watch = Process::spawn(on_bus.set.gateway.command("wharfctl", &[]).arg("watch"));
    watch
        .output()
        .wait_for("INITIAL/0, 10: ready for a package");
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    watch
        .output()
        .wait_for("  0  hello 1.0.1, INSTALLED/2, 40: hello 1.0.1 is installed");
    on_bus.set.gateway.daemon().kill();
    watch
        .output()
        .wait_for("wharfd is away; waiting until it is back");
    watch.kill();
    let lines = watch.output().wait_for_end();
    assert!(
        lines.iter().any(|line| line.contains("DELIVERED/0")),
        "{lines:?}"
    );
}

#[test]
fn status_list_show_and_history_are_read_by_a_person() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    wait_until("the package manager's name", || {
        on_bus.done(&["status"]).contains("simulated").then_some(())
    });
    let status = on_bus.done(&["status"]);
    let server = on_bus.set.server.uri();
    for line in [
        format!("wharfd {} as gateway\n", env!("CARGO_PKG_VERSION")),
        format!("server {server}: registered since 20"),
        "package manager: simulated\n".to_owned(),
        "1 of 1 instances have software in place\n".to_owned(),
    ] {
        assert!(status.contains(&line), "no {line:?} in {status}");
    }
    assert_eq!(
        on_bus.done(&["list"]),
        "ID  PACKAGE  VERSION  STATE        IN PLACE  RUNS  REASON\n\
         0   hello    1.0.1    INSTALLED/2  1.0.1     no    40: hello 1.0.1 is installed\n"
    );
    let show = on_bus.done(&["show", "0"]);
    assert!(
        show.contains("  in place       hello 1.0.1, does not run\n"),
        "{show}"
    );
    assert!(show.contains("  install    server 1  done"), "{show}");
    assert!(show.contains("  status reason  40: hello 1.0.1 is installed\n"));
    let history = on_bus.done(&["history", "hello"]);
    assert_eq!(history.lines().count(), 7, "{history}");

    on_bus.done(&["uninstall", "hello"]);
    let history = on_bus.done(&["history", "hello"]);
    assert!(
        history.contains("40: hello 1.0.1 is installed"),
        "{history}"
    );
    let never = on_bus.wharfctl(&["history", "other"]);
    assert_eq!(never.code, Some(1), "{never:?}");
}

#[test]
fn show_has_every_operation_of_a_package_that_is_kept() {
    let on_bus = OnBus::simulated();
    let set = &on_bus.set;
    let uri = set.publish(&Package::new("hello", "1.0.1"));
    let missing = uri.replace("hello_1", "missing_1");
    assert_eq!(on_bus.wharfctl(&["install", &missing]).code, Some(1));
    on_bus.done(&["install", &uri]);
    for _ in 0..8 {
        on_bus.done(&["activate", "hello"]);
        on_bus.done(&["deactivate", "hello"]);
    }
    let other = set.publish(&Package::new("other", "1.0.1"));
    on_bus.done(&["install", &other]);
    let of = |named: &str| -> Vec<String> {
        let shown = on_bus.json(&["show", named]);
        let operations = shown["operations"].as_array().unwrap().iter();
        let line = |it: &Value| format!("{} {}", it["kind"], it["package"]).replace('"', "");
        operations.map(line).collect()
    };
    let hello = of("hello");
    assert_eq!(hello.len(), 1 + 2 + 16, "{hello:?}");
    assert_eq!(hello[..3], ["pull null", "pull hello", "install hello"]);
    assert_eq!(hello.last().unwrap(), "deactivate hello");
    assert_eq!(of("other"), ["pull other", "install other"]);

    // Another package in the same instance has other operations.
    on_bus.done(&["uninstall", "hello"]);
    let third = set.publish(&Package::new("third", "1.0.1"));
    on_bus.done(&["install", &third]);
    assert_eq!(of("third"), ["pull null", "pull third", "install third"]);
    assert_eq!(of("15").len(), hello.len() + 3);
    let table = on_bus.done(&["show", "third"]);
    assert!(
        table.contains("  install    user 0  done    third  "),
        "{table}"
    );
}

/// The output of a command on a terminal of this kind.
fn on_a_terminal(on_bus: &OnBus, verb: &str, variables: [(&str, &str); 2]) -> String {
    let line = format!("{} {verb}", on_bus.wharfctl_line());
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]);
    let said = run(script.envs(variables).stdin(Stdio::null()));
    assert_eq!(said.code, Some(0), "{said:?}");
    said.output
}

#[test]
fn colours_are_for_a_terminal_that_has_them() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let green = "\u{1b}[32mINSTALLED/2\u{1b}[0m";
    let coloured = on_a_terminal(&on_bus, "list", [("TERM", "linux"), ("NO_COLOR", "")]);
    assert!(coloured.contains(green), "{coloured:?}");
    for variables in [
        [("TERM", "linux"), ("NO_COLOR", "1")],
        [("TERM", "dumb"), ("NO_COLOR", "")],
    ] {
        let plain = on_a_terminal(&on_bus, "list", variables);
        assert!(
            plain.contains("INSTALLED/2") && !plain.contains('\u{1b}'),
            "{plain:?}"
        );
    }
    assert!(!on_bus.done(&["list"]).contains('\u{1b}'));

    let terminal = [("TERM", "linux"), ("NO_COLOR", "")];
    let coloured = on_a_terminal(&on_bus, "doctor", terminal);
    let verdict = "\u{1b}[32mok  \u{1b}[0m  configuration   sound";
    assert!(coloured.contains(verdict), "{coloured:?}");
    assert!(!on_bus.done(&["doctor"]).contains('\u{1b}'));
}

#[test]
fn how_far_apt_is_is_shown_while_it_works() {
    let on_bus = OnBus::on(Gateway::debian(), SystemBus::start);
    let waits = "until [ -e /tmp/go ]; do sleep 0.1; done";
    let package = Package::new("hello", "1.0-1").script(Script::Postinst, waits);
    let uri = on_bus.set.publish(&package);
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut install = Process::spawn(command.args(["install", "--instance", "0", &uri]));
    wait_until("the percentage of dpkg", || {
        let shown = &on_bus.json(&["list"])[0];
        let percent = shown["percent"]
            .as_u64()
            .filter(|percent| (1..100).contains(percent));
        percent.filter(|_| shown["update_state"] == 3)
    });
    on_bus.set.gateway.write("tmp/go", "");
    assert!(install.wait().success());
}

#[test]
fn trace_shows_coap_as_it_goes_by_and_no_secret() {
    let mut on_bus = OnBus::simulated();
    let mut command = on_bus.set.gateway.command("wharfctl", &[]);
    let mut trace = Process::spawn(command.arg("trace"));
    let client = on_bus.set.client();
    // It watches from some moment on.
    wait_until("a read in the trace", || {
        client.read_text("/9/0/7");
        let lines = trace.output().all();
        lines
            .iter()
            .any(|line| line.contains("GET /9/0/7"))
            .then_some(())
    });
    client.write_text("/9/0/15", "hunter2").expect("2.04");
    client
        .write_text("/9/0/3", "http://127.0.0.1:9/p.deb?hunter2")
        .expect("2.04");
    trace.output().wait_for("PUT /9/0/15");
    trace.output().wait_for("\"http://127.0.0.1:9/p.deb?…\"");
    let all = trace.output().all().join("\n");
    assert!(
        all.contains(" > ACK [") && !all.contains("hunter2"),
        "{all}"
    );

    let said = on_bus.wharfctl_as(NOBODY, &["trace"]);
    assert_eq!(said.code, Some(77), "{said:?}");
    assert!(said.errors.contains("only root may trace"), "{said:?}");

    on_bus.set.gateway.daemon().kill();
    assert_eq!(trace.wait().code(), Some(69));
}

#[test]
fn completions_are_printed_without_a_bus() {
    let gateway = Gateway::simulated();
    for shell in ["bash", "zsh", "fish"] {
        let said = run(gateway
            .command("wharfctl", &[])
            .args(["completions", shell]));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.output.contains("uninstall"), "{said:?}");
    }
}

#[test]
fn a_shell_completes_instances_and_packages() {
    let on_bus = OnBus::simulated();
    on_bus.set.install(&Package::new("hello", "1.0.1"));
    let completed = |words: &str| {
        let script = format!(
            "wharfctl() {{ {} \"$@\"; }}; eval \"$(wharfctl completions bash)\"; COMP_WORDS=({words}); \
             COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); \
             _wharfctl wharfctl \"${{COMP_WORDS[-1]}}\" \"${{COMP_WORDS[-2]}}\"; echo \"${{COMPREPLY[@]}}\"",
            on_bus.wharfctl_line()
        );
        let said = run(Command::new("bash").args(["-c", &script]));
        assert_eq!(said.code, Some(0), "{said:?}");
        said.output.trim_end().to_owned()
    };
    assert_eq!(completed("wharfctl show he"), "hello");
    assert_eq!(completed("wharfctl install --instance ''"), "0 hello");
    assert_eq!(completed("wharfctl units h"), "hello");
    assert_eq!(completed("wharfctl units 0"), "");
    assert_eq!(completed("wharfctl activate 0"), "0");
}
