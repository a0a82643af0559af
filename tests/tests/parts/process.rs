use std::{os::unix::process::ExitStatusExt, process::Command};

use wharf_tests::{process::Process, programs::program};

fn shell(commands: &str) -> Process {
    Process::spawn(Command::new("sh").args(["-c", commands]))
}

#[test]
fn lines_are_kept_and_waited_for() {
    let process = shell("echo one; echo two >&2; echo one more; exec sleep 1000");
    assert_eq!(process.errors().wait_for("two"), "two");
    assert_eq!(process.output().wait_for_nth("one", 2), "one more");
    assert_eq!(process.output().all(), ["one", "one more"]);
}

#[test]
#[should_panic(expected = "no \"three\" (the 1.) and no more lines; sh's output:\n  one")]
fn a_line_that_does_not_come_is_told_with_those_that_came() {
    shell("echo one").output().wait_for("three");
}

#[test]
fn a_process_ends_by_a_signal_or_with_its_guard() {
    let mut asked = shell("echo ready; exec sleep 1000");
    asked.output().wait_for("ready");
    assert_eq!(asked.terminate().signal(), Some(15));
    assert_eq!(asked.kill().signal(), Some(15), "it had ended before");

    let dropped = shell("echo ready; exec sleep 1000");
    let output = dropped.output().clone();
    output.wait_for("ready");
    drop(dropped);
    assert_eq!(output.wait_for_end(), ["ready"]);
}

#[test]
fn speaks_by_lines() {
    let mut echo = Process::spawn_with_input(&mut Command::new("cat"));
    echo.write_line("there");
    echo.write_line("and back");
    assert_eq!(echo.output().wait_for("back"), "and back");
    echo.close_input();
    assert!(echo.wait().success());
}

#[test]
#[should_panic(expected = "the workspace builds no wharf-nothing")]
fn a_program_that_nobody_builds_is_named() {
    program("wharf-nothing");
}
