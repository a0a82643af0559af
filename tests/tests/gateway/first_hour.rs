//! The first hour of a new operator: the commands with `acme` and `other` of the operator guide, on a gateway with only
//! wharfd's package. `--nocapture` prints the screens of the guide.

use std::fs;

use wharf_tests::{
    booted::Booted,
    keys::Signer,
    package::Package,
    services::{By, services},
};

/// Runs the command, prints it as a screen, and expects these words in the output.
#[track_caller]
fn screen(gateway: &Booted<()>, line: &str, expected: &[&str]) {
    let output = gateway.container.try_sh(&format!("cd /root; {line} 2>&1"));
    let shown = String::from_utf8_lossy(&output.stdout);
    eprintln!("# {line}\n{}", shown.trim_end());
    assert!(output.status.success(), "{line}:\n{shown}");
    for words in expected {
        assert!(shown.contains(words), "{line}: no {words:?} in\n{shown}");
    }
}

#[test]
fn the_first_hour_goes_as_the_operator_guide_says() {
    let gateway = Booted::installed(|_| ());
    let root = gateway.container.path().join("root");
    let certificate = gateway.certificate(Signer::Vendor);
    fs::write(root.join("vendor.asc"), certificate).expect("a certificate");
    gateway.wait_for_status("no server");

    screen(&gateway, "wharfctl status", &["no server"]);
    let allow = "wharfctl keys add vendor.asc --allow 'acme*'";
    screen(
        &gateway,
        allow,
        &["into /etc/wharfd/installer.toml:", "may sign  acme*"],
    );
    screen(
        &gateway,
        "wharfctl doctor",
        &["ok    keys", "none is configured"],
    );

    let first = gateway.publish(&services("acme", "1.0-1", By::Debhelper));
    let installed = ["acme 1.0-1 is installed in instance 0, and inactive"];
    screen(&gateway, &format!("wharfctl install {first}"), &installed);
    screen(&gateway, "wharfctl units acme", &["Activate starts it"]);
    screen(
        &gateway,
        "wharfctl activate acme",
        &["acme 1.0-1 is active"],
    );
    let list = ["acme 1.0-1", "INSTALLED/2"];
    screen(&gateway, "wharfctl list", &list);

    let second = services("acme", "2.0-1", By::Debhelper).build(&root);
    gateway.sign(&second);
    let installed = ["acme 2.0-1 is installed in instance 0"];
    screen(
        &gateway,
        "wharfctl install ./acme_2.0-1_all.deb",
        &installed,
    );
    screen(
        &gateway,
        "wharfctl activate acme",
        &["acme 2.0-1 is active"],
    );

    let stranger = Package::new("other", "1").build(&root);
    gateway.sign(&stranger);
    let refused = "! wharfctl install ./other_1_all.deb";
    let allow = "`wharfctl keys add FILE --allow other`";
    screen(
        &gateway,
        refused,
        &["53", "may not sign other ([[key]] ", allow],
    );
    screen(
        &gateway,
        "wharfctl logs acme",
        &["apt: Setting up acme (2.0-1)"],
    );
    screen(
        &gateway,
        "wharfctl uninstall acme",
        &["acme 2.0-1 is uninstalled"],
    );
    assert_eq!(gateway.version("acme"), None);
}
