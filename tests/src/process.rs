//! A program that runs beside the test. Its lines are kept, and it ends with its guard.

use std::{
    io::{BufRead, BufReader, Read, Write},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::Arc,
    thread,
};

use nix::{
    sys::signal::{self, Signal},
    unistd::Pid,
};

use crate::waiting::{LIMIT, Watched, wait_until};

/// A running program. A drop kills it.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    input: Option<ChildStdin>,
    output: Lines,
    errors: Lines,
}

/// The lines that a program has written so far to one of its outputs.
#[derive(Debug, Clone)]
pub struct Lines {
    of: String,
    written: Arc<Watched<Written>>,
}

#[derive(Debug, Default)]
struct Written {
    lines: Vec<String>,
    ended: bool,
}

impl Process {
    /// Starts `command` without any input.
    pub fn spawn(command: &mut Command) -> Self {
        Self::start(command.stdin(Stdio::null()))
    }

    /// Starts `command`, with input by [`Self::write_line`].
    pub fn spawn_with_input(command: &mut Command) -> Self {
        Self::start(command.stdin(Stdio::piped()))
    }

    fn start(command: &mut Command) -> Self {
        let mut child = command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}"));
        let program = command.get_program().to_string_lossy();
        let name = program.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            output: Lines::of(format!("{name}'s output"), child.stdout.take()),
            errors: Lines::of(format!("{name}'s errors"), child.stderr.take()),
            input: child.stdin.take(),
            name,
            child,
        }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The lines of its standard output.
    pub fn output(&self) -> &Lines {
        &self.output
    }

    /// The lines of its standard error: a daemon's log.
    pub fn errors(&self) -> &Lines {
        &self.errors
    }

    /// Writes a line to its standard input.
    pub fn write_line(&mut self, line: &str) {
        let input = self.input.as_mut().expect("a program started with input");
        writeln!(input, "{line}")
            .and_then(|()| input.flush())
            .unwrap_or_else(|error| panic!("{} takes no more lines: {error}", self.name));
    }

    /// Closes its standard input.
    pub fn close_input(&mut self) {
        self.input = None;
    }

    /// Sends it `signal`, unless it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.is_running() {
            let id = self.child.id().try_into().expect("a process id");
            signal::kill(Pid::from_raw(id), signal)
                .unwrap_or_else(|error| panic!("no {signal} to {}: {error}", self.name));
        }
    }

    /// Ends it by SIGTERM, and waits for its end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal(Signal::SIGTERM);
        self.wait()
    }

    /// Kills it (SIGKILL), like a crash.
    pub fn kill(&mut self) -> ExitStatus {
        self.signal(Signal::SIGKILL);
        self.wait()
    }

    /// Waits until it has ended.
    pub fn wait(&mut self) -> ExitStatus {
        wait_until(&format!("the end of {}", self.name), || self.exit_status())
    }

    /// Its exit status, if it has ended.
    pub fn exit_status(&mut self) -> Option<ExitStatus> {
        self.child
            .try_wait()
            .unwrap_or_else(|error| panic!("{} cannot be waited for: {error}", self.name))
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        self.exit_status().is_none()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("{}", self.errors.told());
        }
    }
}

impl Lines {
    fn of(of: String, stream: Option<impl Read + Send + 'static>) -> Self {
        let written = Arc::new(Watched::<Written>::default());
        let keep = Arc::clone(&written);
        thread::spawn(move || {
            for line in stream
                .into_iter()
                .flat_map(|stream| BufReader::new(stream).split(b'\n'))
            {
                let Ok(line) = line else { break };
                let line = String::from_utf8_lossy(&line).into_owned();
                keep.with(|written| written.lines.push(line));
            }
            keep.with(|written| written.ended = true);
        });
        Self { of, written }
    }

    /// All lines so far.
    pub fn all(&self) -> Vec<String> {
        self.written.with(|written| written.lines.clone())
    }

    /// Waits for a line that contains `text`, and returns it.
    ///
    /// # Panics
    ///
    /// If the output ends without such a line, or none arrives in time. The message has all lines.
    #[track_caller]
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_nth(text, 1)
    }

    /// Like [`Self::wait_for`], for the `nth` such line, counted from 1.
    #[track_caller]
    pub fn wait_for_nth(&self, text: &str, nth: usize) -> String {
        let what = format!("{text:?} (the {nth}.)");
        self.wait_until(&what, |lines| {
            let mut found = lines.iter().filter(|line| line.contains(text));
            found.nth(nth - 1).cloned()
        })
    }

    /// Waits until `condition` returns a value for all lines so far.
    #[track_caller]
    pub fn wait_until<T>(&self, what: &str, condition: impl Fn(&[String]) -> Option<T>) -> T {
        let found = self
            .written
            .wait_for(LIMIT, |written| match condition(&written.lines) {
                Some(found) => Some(Ok(found)),
                None => written.ended.then_some(Err(())),
            });
        match found {
            Some(Ok(found)) => found,
            Some(Err(())) => panic!("no {what} and no more lines; {}", self.told()),
            None => panic!("no {what} within {LIMIT:?}; {}", self.told()),
        }
    }

    /// Waits without a limit for the line after the first `seen`. None if the output ends before it.
    pub fn after(&self, seen: usize) -> Option<String> {
        loop {
            let next = self.written.wait_for(LIMIT, |written| {
                let line = written.lines.get(seen).cloned();
                (line.is_some() || written.ended).then_some(line)
            });
            if let Some(line) = next {
                return line;
            }
        }
    }

    /// Waits until the output has ended.
    #[track_caller]
    pub fn wait_for_end(&self) -> Vec<String> {
        self.written
            .wait_for(LIMIT, |written| {
                written.ended.then(|| written.lines.clone())
            })
            .unwrap_or_else(|| panic!("{} did not end within {LIMIT:?}", self.of))
    }

    fn told(&self) -> String {
        format!("{}:\n  {}", self.of, self.all().join("\n  "))
    }
}
