use std::{fs, net::UdpSocket, process};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use wharf_tests::{container::Container, folder::processes_in, waiting::wait_until};

#[test]
fn a_container_boots_and_reboots_and_loses_its_power() {
    let mut container = Container::new();
    container.boot();
    assert_eq!(container.failed_units(), [""; 0]);
    it_reaches_the_test_and_nothing_else(&container);
    let boot_id = |container: &Container| container.sh("cat /proc/sys/kernel/random/boot_id");
    let first = boot_id(&container);

    container.sh("echo kept >/var/lib/kept; echo gone >/run/gone");
    fs::write(container.path().join("root/copied"), "from outside").unwrap();
    assert_eq!(container.sh("cat /root/copied"), "from outside");

    container.reboot();
    let second = boot_id(&container);
    assert_ne!(first, second);
    assert_eq!(
        container.sh("cat /var/lib/kept; ls /run/gone || true"),
        "kept"
    );

    container.cut_power();
    container.boot();
    assert_ne!(second, boot_id(&container));
    assert_eq!(container.sh("cat /var/lib/kept"), "kept");

    container.sh("echo asked >/var/lib/kept; systemctl --no-block reboot");
    container.wait_for_reboot();
    assert_eq!(container.sh("cat /var/lib/kept"), "asked");
    it_ends_with_its_test(&container);
}

/// The kernel kills the test's child when the test ends, and nothing else.
fn it_ends_with_its_test(container: &Container) {
    let path = container.path();
    let folder = path.parent().unwrap();
    let inside = container.inside("/etc");
    assert!(inside.exists());
    let is_child = |it: &Pid| parent(*it) == Some(process::id());
    let child = processes_in(folder).into_iter().find(is_child);
    kill(child.expect("a child of this test"), Signal::SIGKILL).unwrap();
    wait_until("the end of its systemd", || {
        (!inside.exists()).then_some(())
    });
}

fn parent(process: Pid) -> Option<u32> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok()
}

fn it_reaches_the_test_and_nothing_else(container: &Container) {
    let socket = UdpSocket::bind((container.network().outside(), 0)).unwrap();
    let to = socket.local_addr().unwrap();
    let line = format!(
        "exec bash -c 'echo hello >/dev/udp/{}/{}'",
        to.ip(),
        to.port()
    );
    container.sh(&line);
    let mut bytes = [0; 16];
    let (length, from) = socket.recv_from(&mut bytes).unwrap();
    assert_eq!(&bytes[..length], b"hello\n");
    assert_eq!(from.ip(), container.network().inside());
    let links = container.sh("tail -n +3 /proc/net/dev | sed 's/:.*//; s/ //g' | sort");
    assert_eq!(links, "host0\nlo");
}
