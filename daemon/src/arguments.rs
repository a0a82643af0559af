//! The command line.

use std::{ffi::OsString, path::PathBuf};

/// A command line.
#[derive(Debug, PartialEq, Eq)]
pub enum CommandLine {
    /// Run with these arguments.
    Run(RunArguments),
    /// Print the usage.
    Help,
    /// Print the version.
    Version,
}

/// The arguments of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct RunArguments {
    /// Each path is below this folder.
    pub root: PathBuf,
    /// The mode.
    pub mode: Mode,
}

/// A mode of wharfd.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Run the agent.
    Agent,
    /// Only read the configuration.
    CheckConfig,
    /// Only end the registration.
    Deregister,
    /// Only check the settings for `wharfctl doctor`.
    Doctor,
}

/// The text of `--help`.
pub const USAGE: &str = "\
Usage: wharfd [--root DIR] [--check-config | --deregister | --doctor]

The software-management agent of this gateway.

  --root DIR      every path of wharfd is below DIR (default: /)
  --check-config  check the configuration, print an error in it, and end
  --deregister    end the registration at the server, and end; stop wharfd
                  before
  --doctor        check the configuration, the server and the machine id, print
                  the findings as JSON for wharfctl doctor, and end
  --help, --version
";

/// Reads the command line.
pub fn parse(words: impl IntoIterator<Item = OsString>) -> Result<CommandLine, lexopt::Error> {
    use lexopt::Arg::Long;
    let mut arguments = RunArguments {
        root: PathBuf::from("/"),
        mode: Mode::Agent,
    };
    let mut parser = lexopt::Parser::from_args(words);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("root") => arguments.root = parser.value()?.into(),
            Long("check-config") => arguments.mode = Mode::CheckConfig,
            Long("deregister") => arguments.mode = Mode::Deregister,
            Long("doctor") => arguments.mode = Mode::Doctor,
            Long("help") => return Ok(CommandLine::Help),
            Long("version") => return Ok(CommandLine::Version),
            other => return Err(other.unexpected()),
        }
    }
    Ok(CommandLine::Run(arguments))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<CommandLine, String> {
        parse(words.iter().map(OsString::from)).map_err(|error| error.to_string())
    }

    #[test]
    fn without_a_word_it_runs_on_this_machine() {
        let expected = RunArguments {
            root: "/".into(),
            mode: Mode::Agent,
        };
        assert_eq!(parsed(&[]), Ok(CommandLine::Run(expected)));
    }

    #[test]
    fn a_root_and_what_is_to_be_done_there_are_taken() {
        for (word, mode) in [
            ("--check-config", Mode::CheckConfig),
            ("--deregister", Mode::Deregister),
            ("--doctor", Mode::Doctor),
        ] {
            let root = "/srv/x".into();
            let command = parsed(&[word, "--root", "/srv/x"]);
            assert_eq!(command, Ok(CommandLine::Run(RunArguments { root, mode })));
        }
    }

    #[test]
    fn unknown_words_are_named() {
        assert_eq!(parsed(&["--rot"]), Err("invalid option '--rot'".to_owned()));
        assert_eq!(
            parsed(&["run"]),
            Err("unexpected argument \"run\"".to_owned())
        );
    }
}
