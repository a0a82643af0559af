//! A gateway for manual tests: Debian booted with wharfd's package, Leshan outside of it over DTLS, packages at an
//! origin. A person sends requests as the server, inspects the gateway as its administrator, and cuts the power.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a demonstration ends where it fails"
)]

use std::{
    io::{BufRead, Write, stdin, stdout},
    process::Command,
    thread,
};

use serde_json::{Value, json};
use wharf_tests::{booted::Booted, gateway::ENDPOINT, leshan::Leshan, package::Package};

const HELP: &str = "\
As the server, Leshan:
  read PATH                 observe PATH            discover PATH
  write PATH VALUE          execute PATH [ARGUMENTS]
  create /9 [INSTANCE]      delete PATH
On the gateway, as root:
  ! COMMAND                 ! wharfctl status, ! wharfctl watch, ! journalctl -f -u 'wharf*' (Ctrl-C ends it)
  shell                     a shell; exit leaves it
  reboot | cut-power        off, in order or not, and on again
help | quit (or Ctrl-D): the gateway goes, and all that it wrote";

/// The command in a line.
enum Order<'a> {
    Server(Value),
    Inside(&'a str),
    Shell,
    Reboot,
    CutPower,
    Help,
    Quit,
    Nothing,
}

fn main() {
    println!("Debian boots, wharfd is installed from its package, and registers with Leshan …");
    let mut gateway = Booted::by_leshan();
    gateway.configure();
    tell_what_leshan_says(&gateway.server);
    let uris = ["1.0-1", "2.0-1"]
        .map(|version| gateway.publish(&Package::new("hello", version).service()));
    println!("{}", welcome(&gateway, &uris));
    loop {
        print!("gateway> ");
        stdout().flush().expect("standard output");
        let mut line = String::new();
        let is_ended = stdin().lock().read_line(&mut line).expect("standard input") == 0;
        match order(line.trim()) {
            _ if is_ended => break,
            Ok(Order::Quit) => break,
            Ok(order) => carry_out(&mut gateway, order),
            Err(why) => println!("{why}; `help` shows what there is"),
        }
    }
    println!("The gateway is switched off and removed.");
}

fn welcome(gateway: &Booted<Leshan>, [first, second]: &[String; 2]) -> String {
    format!(
        "\n\"{ENDPOINT}\" is registered at {}. A package, its signature beside it, and an upgrade of it:\n  \
         {first}\n  {second}\n\n{HELP}\n\nTo begin with:\n  \
         observe /9/0/7\n  write /9/0/3 {first}\n  execute /9/0/4\n  execute /9/0/10\n  ! wharfctl show 0\n  \
         ! journalctl -u 'wharf*' -n 20\n  execute /9/0/6 1\n  write /9/0/3 {second}\n  execute /9/0/4\n",
        gateway.server.secure_uri()
    )
}

fn order(line: &str) -> Result<Order<'_>, String> {
    if let Some(line) = line.strip_prefix('!') {
        return Ok(Order::Inside(line.trim()));
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let (path, rest) = rest.trim().split_once(' ').unwrap_or((rest.trim(), ""));
    let more = match (verb, rest.trim()) {
        ("", _) => return Ok(Order::Nothing),
        ("shell", _) => return Ok(Order::Shell),
        ("reboot", _) => return Ok(Order::Reboot),
        ("cut-power", _) => return Ok(Order::CutPower),
        ("help", _) => return Ok(Order::Help),
        ("quit" | "exit", _) => return Ok(Order::Quit),
        ("read" | "observe" | "discover" | "delete" | "execute", "") => json!({}),
        ("execute", arguments) => json!({ "arguments": arguments }),
        ("write", value) => json!({ "value": value }),
        ("create", "") => json!({ "values": {} }),
        ("create", instance) => {
            let id: u16 = instance
                .parse()
                .map_err(|_| format!("{instance:?} is no instance's number"))?;
            json!({ "instance": id, "values": {} })
        }
        _ => return Err(format!("{line:?} is no order")),
    };
    if !path.starts_with('/') {
        return Err(format!("{verb} needs a path, as in /9/0/7"));
    }
    let mut command = json!({ "do": verb, "endpoint": ENDPOINT, "path": path });
    let fields = command.as_object_mut().expect("an object");
    fields.extend(more.as_object().expect("an object").clone());
    Ok(Order::Server(command))
}

fn carry_out(gateway: &mut Booted<Leshan>, order: Order<'_>) {
    match order {
        Order::Server(command) => drop(gateway.server.begin(&command)),
        Order::Inside(line) => run_inside(gateway, &["sh", "-c", line]),
        Order::Shell => run_inside(gateway, &["bash", "-i"]),
        Order::Reboot => gateway.container.reboot(),
        Order::CutPower => {
            gateway.container.cut_power();
            gateway.container.boot();
        }
        Order::Help => println!("{HELP}"),
        Order::Quit | Order::Nothing => {}
    }
}

/// Runs in this terminal. Ctrl-C ends only this command: the parent process ignores it (Makefile).
fn run_inside(gateway: &Booted<Leshan>, words: &[&str]) {
    let mut command: Command = gateway.container.command("env");
    let status = command.arg("--default-signal=INT").args(words).status();
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => println!("({status})"),
        Err(error) => println!("it cannot be run inside: {error}"),
    }
}

/// Prints each line of Leshan as it arrives, until Leshan ends.
fn tell_what_leshan_says(leshan: &Leshan) {
    let output = leshan.output().clone();
    let seen = output.all().len();
    thread::spawn(move || {
        for line in (seen..).map_while(|seen| output.after(seen)) {
            if let Ok(said) = serde_json::from_str(&line) {
                println!("\r  server   {}", shown(&said));
            }
        }
    });
}

fn shown(said: &Value) -> String {
    let text = |name: &str| said[name].as_str().unwrap_or_default().to_owned();
    match (said["event"].as_str(), said["error"].as_str()) {
        (_, Some(error)) => error.to_owned(),
        (Some("notification"), _) => format!("{} = {}", text("path"), said["value"]),
        (Some(event), _) => format!("{event} {} from {}", text("endpoint"), text("address")),
        (None, _) if said["value"].is_null() => text("code"),
        (None, _) => format!("{} {}", text("code"), said["value"]),
    }
}
