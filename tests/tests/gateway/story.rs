//! A server manages a gateway that has only wharfd's package.

use serde_json::{Value, json};
use wharf_tests::{
    booted::Booted,
    container::Container,
    gateway::ENDPOINT,
    leshan::Leshan,
    manager::Manager,
    package::{Package, Script},
    rpm_root::is_dnf5,
    waiting::wait_until,
};

/// A service that prints its version, and is enabled and started by the postinst.
fn hello(version: &str) -> Package {
    let postinst = "systemctl daemon-reload\nsystemctl enable --now hello\necho hello was set up";
    Package::new("hello", version)
        .service()
        .script(Script::Postinst, postinst)
}

#[test]
fn leshan_manages_a_gateway_over_dtls_and_across_boots() {
    is_managed(Booted::by_leshan());
}

#[test]
fn leshan_manages_a_gateway_with_dnf_over_dtls_and_across_boots() {
    is_managed(Booted::by_leshan_with(Manager::Dnf));
}

fn is_managed(mut gateway: Booted<Leshan>) {
    assert_eq!(gateway.container.failed_units(), [""; 0]);
    gateway.wait_for_status("no server, 0 packages");
    wait_until("wharfd on the bus", || {
        let status = gateway.container.try_sh("wharfctl status");
        let shown = String::from_utf8_lossy(&status.stdout).into_owned();
        shown.contains("\nno server\n").then_some(())
    });
    gateway.configure();
    gateway.wait_for_status("registered with coaps://");
    gateway.boot_again(|container| drop(container.sh("systemctl reload wharfd")));

    delivers_and_installs(&mut gateway);
    gateway.container.sh("wharfctl doctor");
    the_journal_tells_the_story(&gateway);
    activates(&mut gateway);
    gateway.boot_again(Container::reboot);
    is_active(&mut gateway, "1.0-1");
    upgrades(&mut gateway);
    gateway.boot_again(|container| {
        container.cut_power();
        container.boot();
    });
    is_active(&mut gateway, "2.0-1");
    deactivates_and_uninstalls(&mut gateway);

    // Leshan keeps the order within a path; between paths its threads decide.
    let expected = [
        ("7", json!([1, 2, 3, 4, 0, 1, 2, 3, 4, 0, null])),
        ("9", json!([1, 0, 2, 0, 1, 0, 2, 0, null])),
        ("12", json!([true, false, true, false, null])),
    ];
    for (resource, values) in expected {
        gateway.wait_until_told(&format!("/9/1/{resource}"), &values);
    }
    // The one registration survived every restart, so the server did not observe again.
    assert_eq!(gateway.events("registered"), 1);
}

/// Create, Observe, User Name and Password, Package URI, Install.
fn delivers_and_installs(gateway: &mut Booted<Leshan>) {
    gateway.origin.require("fleet", "correct horse");
    let uri = gateway.publish(&hello("1.0-1"));
    gateway.create_and_observe(1);
    gateway.write("/9/1/14", "fleet");
    gateway.write("/9/1/15", "correct horse");
    gateway.write("/9/1/3", &uri);
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3]));
    gateway.wait_for_wharfctl(1, &stands(3, 0, "1.0-1", false));
    assert_eq!(gateway.version("hello"), None);

    gateway.execute("/9/1/4", None);
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3, 4]));
    gateway.wait_for_wharfctl(1, &stands(4, 2, "1.0-1", false));
    gateway.wait_for_status("registered with coaps://");
    assert_eq!(gateway.version("hello").as_deref(), Some("1.0-1"));
    gateway.container.wait_for_unit("hello", "inactive");
}

fn activates(gateway: &mut Booted<Leshan>) {
    gateway.execute("/9/1/10", None);
    gateway.wait_until_told("/9/1/12", &json!([true]));
    is_active(gateway, "1.0-1");
}

/// Checked at the server, for the administrator, and on the system.
#[track_caller]
fn is_active(gateway: &mut Booted<Leshan>, version: &str) {
    let expected = [
        ("0", json!("hello")),
        ("1", json!(version)),
        ("7", json!(4)),
        ("9", json!(2)),
        ("12", json!(true)),
    ];
    for (resource, value) in expected {
        let path = format!("/9/1/{resource}");
        assert_eq!(gateway.read(&path), value, "{path}");
    }
    gateway.wait_for_wharfctl(1, &stands(4, 2, version, true));
    gateway.container.wait_for_unit("hello", "active");
    let runs = gateway.container.unit::<String>("hello", "Description");
    assert_eq!(runs, format!("hello {version}"));
    assert_eq!(gateway.version("hello").as_deref(), Some(version));
}

/// Uninstall with ForUpdate, under which the software keeps running; the new version; Install, and Activate again.
fn upgrades(gateway: &mut Booted<Leshan>) {
    gateway.execute("/9/1/6", Some("1"));
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3, 4, 0]));
    gateway.wait_until_told("/9/1/12", &json!([true, false]));
    let in_place =
        json!({ "name": "hello", "version": "1.0-1", "runs": true, "no_services": false });
    let initial = json!({ "update_state": 0, "update_result": 0, "in_place": in_place });
    gateway.wait_for_wharfctl(1, &initial);
    gateway.container.wait_for_unit("hello", "active");

    let uri = gateway.publish(&hello("2.0-1"));
    let whole = json!({ "14": "fleet", "15": "correct horse", "3": uri });
    let written = gateway.server.write_instance(ENDPOINT, "/9/1", whole);
    assert_eq!(written.code, "2.04", "{written:?}");
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3, 4, 0, 1, 2, 3]));
    gateway.execute("/9/1/4", None);
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3, 4, 0, 1, 2, 3, 4]));
    gateway.wait_for_wharfctl(1, &stands(4, 2, "2.0-1", false));
    gateway.container.wait_for_unit("hello", "inactive");

    gateway.execute("/9/1/10", None);
    gateway.wait_until_told("/9/1/12", &json!([true, false, true]));
    is_active(gateway, "2.0-1");
}

fn deactivates_and_uninstalls(gateway: &mut Booted<Leshan>) {
    gateway.execute("/9/1/11", None);
    gateway.wait_until_told("/9/1/12", &json!([true, false, true, false]));
    gateway.wait_for_wharfctl(1, &stands(4, 2, "2.0-1", false));
    gateway.container.wait_for_unit("hello", "inactive");

    gateway.execute("/9/1/6", None);
    gateway.wait_until_told("/9/1/7", &json!([1, 2, 3, 4, 0, 1, 2, 3, 4, 0]));
    let empty = json!({ "update_state": 0, "name": null, "version": null, "in_place": null });
    gateway.wait_for_wharfctl(1, &empty);
    assert_eq!(gateway.version("hello"), None);

    let deleted = gateway.server.delete(ENDPOINT, "/9/1");
    assert_eq!(deleted.code, "2.02", "{deleted:?}");
}

/// The output of `wharfctl` about hello.
fn stands(state: u8, result: u8, version: &str, active: bool) -> Value {
    json!({
        "update_state": state,
        "update_result": result,
        "name": "hello",
        "version": version,
        "active": active,
        "busy": false,
    })
}

/// All of our programs, in the order in which they handled the package.
fn the_journal_tells_the_story(gateway: &Booted<Leshan>) {
    let fields = "SYSLOG_IDENTIFIER,WHARF_PACKAGE,WHARF_INSTANCE,WHARF_STATE,WHARF_RESULT,MESSAGE_ID,MESSAGE";
    let journal = gateway.container.sh(&format!(
        "journalctl --sync; journalctl WHARF_PACKAGE=hello --output json --output-fields={fields}"
    ));
    let lines: Vec<Value> = journal
        .lines()
        .map(|line| serde_json::from_str(line).expect("a line in JSON"))
        .collect();
    let told = |line: &Value| {
        let field = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        assert_eq!(field("MESSAGE_ID").len(), 32, "{line}");
        [
            field("SYSLOG_IDENTIFIER"),
            field("WHARF_INSTANCE"),
            field("WHARF_STATE"),
            field("WHARF_RESULT"),
        ]
        .join(" ")
    };
    let told: Vec<String> = lines.iter().map(told).collect();
    let expected = [
        "wharfd 1 DOWNLOAD STARTED 1",
        "wharf-fetch 1 - -",
        "wharfd 1 DOWNLOADED 0",
        "wharf-installer - - -",
        "wharfd 1 DELIVERED 0",
        "wharfd 1 DELIVERED 0",
        "wharf-job - - -",
        "wharfd 1 INSTALLED 2",
    ];
    assert_eq!(told, expected, "{journal}");
    assert!(!journal.contains("correct horse"), "{journal}");

    wharfctl_prints_its_lines(&gateway.container, gateway.manager.name());

    // The catalog explains each event and its remedy.
    let explained = gateway
        .container
        .sh("journalctl --catalog WHARF_PACKAGE=hello --no-hostname");
    assert!(
        explained.contains("-- Subject: hello is installed"),
        "{explained}"
    );
    assert!(explained.contains("wharfctl activate hello"), "{explained}");
    assert_eq!(explained.matches("-- Subject: ").count(), expected.len());
    let updated = gateway.container.sh("journalctl --update-catalog 2>&1");
    assert_eq!(updated, "");
}

/// The lines include the output of the package manager, which only the operation identifies.
fn wharfctl_prints_its_lines(container: &Container, manager: &str) {
    let mark = match manager {
        "dnf" if is_dnf5() => ">>> ",
        _ => "",
    };
    let set_up = format!("{manager}: {mark}hello was set up");
    // journald accepts such a line from every user.
    container.sh(
        "printf 'MESSAGE=forged\\nWHARF_PACKAGE=hello\\nWHARF_INSTANCE=1\\nWHARF_OPERATION=0123456789abcdef0123456789abcdef\\n' \
         | setpriv --reuid=nobody --regid=nogroup --clear-groups logger --journald; journalctl --sync",
    );
    let all = container.sh("journalctl WHARF_PACKAGE=hello");
    assert!(all.contains("forged"), "{all}");
    let journal = container.sh("wharfctl logs hello");
    assert!(!journal.contains("forged"), "{journal}");
    let at = |text: &str| {
        let found = journal.find(text);
        found.unwrap_or_else(|| panic!("no {text:?} in {journal}"))
    };
    let expected = [
        "DOWNLOAD STARTED/1",
        "hello 1.0-1 is signed by ",
        set_up.as_str(),
        "install hello 1.0-1: done",
        "INSTALLED/2, inactive",
    ];
    assert!(expected.map(at).is_sorted(), "{journal}");
    let of_instance = container.sh("wharfctl logs 1");
    assert!(!of_instance.contains("forged"), "{of_instance}");
    assert!(of_instance.contains(&set_up), "{of_instance}");

    let operations = container.sh("wharfctl --json show hello");
    let operations: Value = serde_json::from_str(&operations).expect("JSON");
    let install = operations["operations"][1]["id"].as_str().expect("an id");
    let of_install = container.sh(&format!("wharfctl logs {install}"));
    assert!(of_install.contains(&set_up), "{of_install}");
    assert!(!of_install.contains("DOWNLOAD STARTED"), "{of_install}");

    let of_nobody = container.try_sh("wharfctl logs nobody");
    let said = String::from_utf8_lossy(&of_nobody.stderr);
    assert!(
        said.contains("the journal has no line with WHARF_PACKAGE=nobody"),
        "{said}"
    );
    assert_eq!(of_nobody.status.code(), Some(1));
}
