//! The command line.

use std::{convert::Infallible, fmt, path::PathBuf, str::FromStr};

use clap::{Args, Parser, Subcommand};

/// The command line of wharfctl.
#[derive(Debug, Parser)]
#[command(
    name = "wharfctl",
    version,
    about = "Asks wharfd, the software-management agent of this gateway",
    arg_required_else_help = true,
    after_help = "Exit codes: 0 success, 1 failed or refused, 64 wrong command line, 69 wharfd cannot be reached,\n\
                  77 root is needed. See wharfctl(1)."
)]
pub(crate) struct Arguments {
    /// Ask the wharfd whose paths are below DIR
    #[arg(long, value_name = "DIR", default_value = "/", global = true)]
    pub(crate) root: PathBuf,
    /// Print JSON, one value a line; wharfctl(1) lists the names
    #[arg(long, global = true)]
    pub(crate) json: bool,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Show the agent, its server and the running operations
    Status,
    /// List all instances of Object 9, one a line
    List,
    /// Show one instance and its operations
    Show {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Show all changes that a server could see, oldest first
    History {
        /// Only of this instance: its number, or the name of its package
        instance: Option<Named>,
    },
    /// Show the journal of an instance or an operation, with the output of the package manager
    Logs {
        /// The instance's number, the name of its package, or an operation's ID
        #[arg(value_name = "INSTANCE|OPERATION")]
        subject: Logged,
    },
    /// Show the units of a package: whether each starts at boot, runs, is held back or left alone, and why; for root
    Units {
        /// The name of the package
        #[arg(value_name = "PACKAGE")]
        name: String,
    },
    /// Print each change, until interrupted
    Watch,
    /// Print each CoAP message from and to the server, without secrets, until interrupted; for root
    Trace,
    /// Check all that wharfd needs, and print how to correct it; exits with 1 if a check fails
    Doctor,
    /// Deliver a package, install it, and wait for the end
    Install(InstallArguments),
    /// Remove the software of an instance, or drop its delivered package, and wait for the end
    Uninstall {
        /// The instance's number, or the name of its package
        instance: Named,
        /// Delete its configuration as well, if allow-purge in installer.toml names the package
        #[arg(long)]
        purge: bool,
    },
    /// Activate the software of an instance, and wait for the end
    Activate {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Deactivate the software of an instance, and wait for the end
    Deactivate {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Go back to the version before the software of an instance, and wait for the end
    Back {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Let the files of a package be installed again that were sent back; for root
    Forgive {
        /// The name of the package
        #[arg(value_name = "PACKAGE")]
        name: String,
    },
    /// Cancel an operation that waits, downloads, or has not begun to change the device
    Cancel {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Delete an instance without software in place, and cancel its download
    Delete {
        /// The instance's number, or the name of its package
        instance: Named,
    },
    /// Show and change the keyring: the certificates that sign packages
    #[command(subcommand, arg_required_else_help = true)]
    Keys(KeysVerb),
    /// Build, show and check bundles: several packages in one file
    #[command(subcommand, arg_required_else_help = true)]
    Bundle(BundleVerb),
    /// Print the names of instances, one a line, for the completions of a shell
    #[command(hide = true)]
    Names {
        /// Only the names of packages
        #[arg(long)]
        packages: bool,
    },
    /// Print the completions of a shell
    Completions {
        /// The shell
        #[arg(value_enum)]
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeysVerb {
    /// List the certificates, each with owner, expiry and the packages that it may sign
    List,
    /// Add the OpenPGP certificates of a file to the keyring
    Add {
        /// The file, armored or not
        file: PathBuf,
        /// Allow them to sign packages of these names: prints and writes a [[key]] of installer.toml
        #[arg(long, value_name = "PATTERN", num_args = 1..)]
        allow: Vec<String>,
    },
    /// Remove a certificate from the keyring
    Remove {
        /// Its fingerprint
        fingerprint: String,
    },
    /// Check which certificate signed a package and whether policy allows it; FILE.asc or FILE.sig beside it is read
    /// too
    Check {
        /// The package
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum BundleVerb {
    /// Write the bundle of a manifest and of the files beside it, and fill in missing digests
    Build {
        /// The manifest, in TOML
        manifest: PathBuf,
        /// The bundle. Default: NAME_VERSION.wharf
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Show the manifest and the files of a bundle, also of an unsigned one; for root
    Inspect {
        /// The bundle
        file: PathBuf,
    },
    /// Check which certificates signed a bundle and its packages and whether policy allows them; FILE.asc or FILE.sig
    /// beside it is read too; for root
    Verify {
        /// The bundle
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct InstallArguments {
    /// The package: a URI (https://… or http://…), or a local file, with FILE.asc or FILE.sig beside it. Or an instance
    /// whose package is DELIVERED: its number, or the name of the package
    #[arg(value_name = "URI|FILE|INSTANCE")]
    pub(crate) package: PackageArgument,
    /// Use this instance and upgrade its software: its number, or the name of its package. Default: the instance that
    /// has the package (a URI is then downloaded twice), else a free one, else a new one
    #[arg(long)]
    pub(crate) instance: Option<Named>,
    /// Use a new instance
    #[arg(long, conflicts_with = "instance")]
    pub(crate) new: bool,
    /// User Name at the origin of a URI
    #[arg(long, requires = "password_file")]
    pub(crate) user: Option<String>,
    /// The file with the Password in its first line
    #[arg(long, value_name = "FILE", requires = "user")]
    pub(crate) password_file: Option<PathBuf>,
}

/// An instance on the command line. No package name is only a number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Named {
    Number(u16),
    Package(String),
}

impl FromStr for Named {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word.parse() {
            Ok(number) => Self::Number(number),
            Err(_) => Self::Package(word.to_owned()),
        })
    }
}

impl fmt::Display for Named {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(id) => id.fmt(to),
            Self::Package(name) => name.fmt(to),
        }
    }
}

/// The subject of `wharfctl logs`. No package name looks like the ID of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Logged {
    Instance(Named),
    Operation(String),
}

impl FromStr for Logged {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        match word.len() == 32 && word.bytes().all(is_digit) {
            true => Ok(Self::Operation(word.to_owned())),
            false => word.parse().map(Self::Instance),
        }
    }
}

/// The source of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PackageArgument {
    Uri(String),
    File(PathBuf),
}

impl FromStr for PackageArgument {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(match word.contains("://") {
            true => Self::Uri(word.to_owned()),
            false => Self::File(PathBuf::from(word)),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_manual_page_has_every_verb_and_every_option() {
        let page = include_str!("../../../docs/man/wharfctl.1").replace('\\', "");
        let command = Arguments::command();
        for verb in command.get_subcommands() {
            assert!(page.contains(verb.get_name()), "no {}", verb.get_name());
        }
        let verbs = command.get_subcommands();
        let options = verbs.flat_map(|verb| verb.get_arguments());
        for option in options.chain(command.get_arguments()) {
            let Some(long) = option.get_long() else {
                continue;
            };
            assert!(page.contains(&format!("--{long}")), "no --{long}");
        }
    }

    /// The help hides `names`. An error of clap would list it.
    #[test]
    fn without_a_verb_the_help_is_printed_as_an_error() {
        for words in [
            &["wharfctl"][..],
            &["wharfctl", "keys"],
            &["wharfctl", "bundle"],
        ] {
            let error = Arguments::try_parse_from(words).unwrap_err();
            let kind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
            assert_eq!((error.kind(), error.use_stderr()), (kind, true));
        }
    }

    #[test]
    fn an_instance_is_called_by_its_number_or_by_its_package() {
        assert_eq!("7".parse(), Ok(Named::Number(7)));
        assert_eq!("7zip".parse(), Ok(Named::Package("7zip".to_owned())));
        assert_eq!("65536".parse(), Ok(Named::Package("65536".to_owned())));
    }

    #[test]
    fn an_operation_is_called_by_its_id_in_the_journal() {
        let id = "9b5746512777dcb8103546d64be0a825";
        assert_eq!(id.parse(), Ok(Logged::Operation(id.to_owned())));
        let other = "x".repeat(32);
        for word in ["hello", "7", "9b5746512777dcb8103546d64be0a82", &other] {
            let named = word.parse().unwrap();
            assert_eq!(word.parse(), Ok(Logged::Instance(named)));
        }
    }

    #[test]
    fn what_has_a_scheme_is_a_uri_and_anything_else_a_file() {
        let uri = "https://h/a.deb";
        assert_eq!(uri.parse(), Ok(PackageArgument::Uri(uri.to_owned())));
        for file in ["./a.deb", "/tmp/a.deb", "a:b.deb"] {
            assert_eq!(file.parse(), Ok(PackageArgument::File(file.into())));
        }
    }
}
