//! The system calls of running programs, as strace sees them.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use wharf_tests::{command::output_of, folder::Folder, process::Process};

/// strace, attached until [`Strace::end`].
pub(crate) struct Strace {
    strace: Process,
    folder: Folder,
}

impl Strace {
    /// Traces these calls of `processes` and of all their children.
    pub(crate) fn attach(processes: &[u32], calls: &str) -> Self {
        let folder = Folder::new();
        let mut command = strace(&folder, calls);
        for process in processes {
            command.args(["-p", &process.to_string()]);
        }
        let strace = Process::spawn(&mut command);
        for process in processes {
            let attached = format!("Process {process} attached");
            strace.errors().wait_for(&attached);
        }
        Self { strace, folder }
    }

    /// Detaches, and returns the calls of each thread in their order.
    pub(crate) fn end(mut self) -> Vec<Vec<Call>> {
        self.strace.terminate();
        traced(&self.folder)
    }
}

/// Runs `command` to its end, and returns its calls like [`Strace::end`].
pub(crate) fn trace(command: &Command, calls: &str) -> Vec<Vec<Call>> {
    let folder = Folder::new();
    let mut strace = strace(&folder, calls);
    strace.arg(command.get_program()).args(command.get_args());
    output_of(&mut strace);
    traced(&folder)
}

fn strace(folder: &Folder, calls: &str) -> Command {
    let mut command = Command::new("strace");
    // A file for each thread, so that no line is interrupted.
    command.args(["-ff", "-y", "-s0", "-e", "signal=none", "-o"]);
    command.arg(folder.join("trace"));
    command.args(["-e", &format!("trace={calls}")]);
    command
}

fn traced(folder: &Folder) -> Vec<Vec<Call>> {
    let files = fs::read_dir(folder.path()).expect("the folder of the trace");
    let files = files.map(|file| file.expect("a file").path());
    files.filter(|file| is_trace(file)).map(calls).collect()
}

/// A call that succeeded.
pub(crate) struct Call {
    /// Its name.
    pub(crate) name: String,
    /// The file of its last descriptor: the destination of the bytes, for all calls that are traced here.
    pub(crate) file: PathBuf,
    /// Its result.
    pub(crate) result: u64,
}

fn is_trace(file: &Path) -> bool {
    file.file_stem().is_some_and(|name| name == "trace")
}

fn calls(file: PathBuf) -> Vec<Call> {
    let text = fs::read_to_string(&file).expect("a trace");
    text.lines().filter_map(call).collect()
}

/// `write(7</tmp/x>, ""..., 512) = 512`
fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let (arguments, result) = rest.rsplit_once(" = ")?;
    let (_, file) = arguments.rsplit_once('<')?;
    let (file, _) = file.split_once('>')?;
    Some(Call {
        name: name.to_owned(),
        file: file.into(),
        result: result.split(' ').next()?.parse().ok()?,
    })
}
