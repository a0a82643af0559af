use std::process::Command;

use wharf_tests::{command::text_of, nginx::Nginx};

#[test]
fn nginx_serves_ranges_to_who_knows_the_password() {
    let mut nginx = Nginx::new("gateway", "s3cret");
    let uri = nginx.serve("/a.deb", "content");
    let curl =
        |arguments: &[&str]| text_of(Command::new("curl").arg("-sS").args(arguments).arg(&uri));
    assert_eq!(curl(&["-u", "gateway:s3cret", "-r", "3-"]), "tent");
    assert_eq!(curl(&["-o", "/dev/null", "-w", "%{http_code}"]), "401");
    let head = curl(&["-u", "gateway:s3cret", "-I"]);
    assert!(
        head.contains("ETag: \"") && head.contains("Last-Modified: "),
        "{head}"
    );
    nginx.stop();
    let stopped = Command::new("curl").arg("-s").arg(&uri).status().unwrap();
    assert_eq!(stopped.code(), Some(7), "curl says: not connected");
}
