//! The consent to apt's plan. Under its locks, right before dpkg changes the device, apt runs a hook of ours (apt.conf(5),
//! DPkg::Pre-Install-Pkgs). The hook sends the plan to this process, and apt continues only with its consent. This module
//! does not judge the plan.
//!
//! The hook is on apt's command line. apt reads that after all its files, so no file can remove the hook. dpkg checks
//! for consent as well: if apt does not ask, dpkg changes nothing. apt announces a purge as a removal, and its `dpkg
//! --purge --pending` purges packages that it does not announce. Therefore dpkg refuses to purge for apt.

use std::{
    fs::{self, OpenOptions},
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use wharf_frames::{Cause, Failure};

use super::programs;
use crate::conversation::Conversation;
use wharf_root::{Root, durable};

/// Options for apt's command line. They come after `-c`, so this hook is the last one, and only dpkg follows. The hook sends
/// the announced lines and an empty one, and waits for a line. No line comes if consent is refused or this process has ended:
/// then the hook fails, and apt changes nothing. Descriptor 9 is the highest that a shell can name.
const HOOK: [&str; 4] = [
    "DPkg::Pre-Install-Pkgs::=sed '1,/^$/d' >&9 && echo >&9 && read -r consent <&9",
    "DPkg::Tools::Options::sed::Version=3",
    "DPkg::Tools::Options::sed::InfoFD=0",
    "APT::Keep-Fds::=9",
];

/// One conversation with the hook.
pub(super) struct Consent {
    conversation: Conversation,
    /// dpkg works only if this file exists. Its name is unpredictable, and only root may create it.
    token: PathBuf,
    /// The time at which consent was given.
    since: Option<Instant>,
}

impl Consent {
    /// A new conversation, and the socket of the hook. Only root may write into the folder.
    pub(super) fn new(folder: &Path) -> io::Result<(Self, OwnedFd)> {
        let (conversation, hook) = Conversation::new()?;
        let mut options = OpenOptions::new();
        let (token, _) = durable::create_unique(&folder.join("consent"), options.write(true))?;
        fs::remove_file(&token)?;
        let consent = Self {
            conversation,
            token,
            since: None,
        };
        Ok((consent, hook))
    }

    /// The `-o` options for apt.
    pub(super) fn options(&self, root: &Root) -> Vec<String> {
        let token = root.seen_inside(&self.token);
        let gate = format!(
            "DPkg::Options::=--pre-invoke=test -e {} && test \"$DPKG_HOOK_ACTION\" != purge",
            token.display()
        );
        let hook = HOOK.iter().map(|&option| option.to_owned());
        let options = hook.chain([gate]);
        options
            .flat_map(|option| ["-o".to_owned(), option])
            .collect()
    }

    /// As [`Conversation::is_settled`].
    pub(super) fn is_settled(&self) -> bool {
        self.conversation.is_settled()
    }

    /// As [`Conversation::is_given`].
    fn is_given(&self) -> bool {
        self.conversation.is_given()
    }

    /// The time since consent was given, if it was.
    pub(super) fn given_for(&self) -> Option<Duration> {
        self.since.map(|since| since.elapsed())
    }

    /// As [`Conversation::refuse`].
    pub(super) fn refuse(&mut self, why: Failure) {
        self.conversation.refuse(why);
    }

    /// As [`Conversation::end_if_unwanted`]. A hook of the administrator may end before.
    pub(super) fn end_if_unwanted(&mut self, apt: u32, is_wanted: &dyn Fn() -> bool) -> bool {
        self.conversation
            .end_if_unwanted(apt, is_wanted, &programs::role_before_consent)
    }

    /// As [`Conversation::listen`]; the token for dpkg exists before apt gets its answer.
    pub(super) fn listen(&mut self, decide: impl Fn(&str) -> Result<(), Failure>) {
        let token = &self.token;
        self.conversation
            .listen(|lines| decide(lines).and_then(|()| tell_dpkg(token)));
        if self.is_given() && self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }

    /// As [`Conversation::decided`].
    pub(super) fn decided(mut self) -> Option<Result<(), Failure>> {
        self.conversation.decided()
    }
}

fn tell_dpkg(token: &Path) -> Result<(), Failure> {
    let mut options = OpenOptions::new();
    let made = options.write(true).create_new(true).open(token);
    made.map(drop).map_err(|error| {
        let detail = format!("cannot create {}: {error}", token.display());
        Failure::new(Cause::Unavailable, detail)
    })
}

impl Drop for Consent {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.token);
    }
}

impl AsFd for Consent {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.conversation.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        os::unix::net::UnixStream,
    };

    use super::*;
    use wharf_root::limits;

    /// Runs a hook that sends these lines. Returns its answer, and whether the lines were refused.
    fn told(lines: &[u8], decide: impl Fn(&str) -> Result<(), Failure>) -> (String, bool) {
        let folder = tempfile::tempdir().unwrap();
        let (mut consent, hook) = Consent::new(folder.path()).unwrap();
        let mut hook = UnixStream::from(hook);
        let sent = lines.to_vec();
        let sender = std::thread::spawn(move || {
            hook.write_all(&sent).unwrap();
            let mut answer = String::new();
            hook.read_to_string(&mut answer).unwrap();
            answer
        });
        while !sender.is_finished() {
            let mut events = [nix::poll::PollFd::new(
                consent.as_fd(),
                nix::poll::PollFlags::POLLIN,
            )];
            nix::poll::poll(&mut events, 100u16).unwrap();
            consent.listen(&decide);
        }
        assert_eq!(consent.token.exists(), consent.is_given());
        let refused = matches!(consent.decided(), Some(Err(_)));
        (sender.join().unwrap(), refused)
    }

    #[test]
    fn only_a_whole_announcement_is_decided_upon() {
        let folder = tempfile::tempdir().unwrap();
        let (mut consent, hook) = Consent::new(folder.path()).unwrap();
        let mut hook = UnixStream::from(hook);
        for part in ["acme 1 ", "x\n", "user 2 x\n"] {
            hook.write_all(part.as_bytes()).unwrap();
            consent.listen(|lines| panic!("{lines:?} is not all"));
            assert!(!consent.token.exists(), "dpkg does nothing yet");
        }
        hook.write_all(b"\n").unwrap();
        consent.listen(|lines| {
            assert_eq!(lines, "acme 1 x\nuser 2 x");
            Ok(())
        });
        consent.listen(|_| panic!("it is asked once"));
        let mut answer = String::new();
        hook.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "y\n");
        let token = consent.token.clone();
        assert!(token.exists(), "dpkg goes on");
        assert_eq!(consent.decided(), Some(Ok(())));
        assert!(!token.exists());
    }

    #[test]
    fn what_is_refused_from_outside_is_decided_and_what_was_decided_stays() {
        let folder = tempfile::tempdir().unwrap();
        let refused = || Failure::new(Cause::PackageManager, "too late");
        let (mut consent, _hook) = Consent::new(folder.path()).unwrap();
        assert!(!consent.is_settled() && !consent.is_given());
        consent.refuse(refused());
        assert!(consent.is_settled() && !consent.is_given());
        assert_eq!(consent.decided(), Some(Err(refused())));

        let (mut consent, hook) = Consent::new(folder.path()).unwrap();
        UnixStream::from(hook).write_all(b"acme\n\n").unwrap();
        consent.listen(|_| Ok(()));
        consent.refuse(refused());
        assert!(consent.is_settled() && consent.is_given());
        assert_eq!(consent.decided(), Some(Ok(())));
    }

    #[test]
    fn apt_is_told_the_hook_and_dpkg_the_sign_of_consent_below_the_root() {
        let folder = tempfile::tempdir().unwrap();
        let (consent, _hook) = Consent::new(folder.path()).unwrap();
        let options = consent.options(&Root::new(folder.path()));
        let (flags, values): (Vec<_>, Vec<_>) =
            options.chunks(2).map(|pair| (&*pair[0], &*pair[1])).unzip();
        assert!(flags.iter().all(|flag| *flag == "-o"), "{options:?}");
        let name = consent.token.file_name().unwrap().to_str().unwrap();
        let gate = format!(
            "DPkg::Options::=--pre-invoke=test -e /{name} && test \"$DPKG_HOOK_ACTION\" != purge"
        );
        let expected: Vec<&str> = HOOK.into_iter().chain([&*gate]).collect();
        assert_eq!(values, expected);
    }

    #[test]
    fn consent_that_dpkg_cannot_see_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let (mut consent, hook) = Consent::new(folder.path()).unwrap();
        let mut hook = UnixStream::from(hook);
        fs::write(&consent.token, "somebody else's").unwrap();
        hook.write_all(b"acme\n\n").unwrap();
        consent.listen(|_| Ok(()));
        let mut answer = String::new();
        hook.read_to_string(&mut answer).unwrap();
        assert_eq!(answer, "");
        assert!(matches!(consent.decided(), Some(Err(_))));
    }

    #[test]
    fn a_refusal_is_an_end_without_a_line() {
        let refuse = |_: &str| Err(Failure::new(Cause::Plan, "no"));
        assert_eq!(told(b"acme\n\n", refuse), (String::new(), true));
        assert_eq!(told(b"\n", refuse), (String::new(), true));
    }

    #[test]
    fn what_is_too_long_is_refused_and_taken_to_its_end() {
        let mut lines = vec![b'x'; 8 * limits::ANNOUNCED];
        lines.extend(b"\n\n");
        assert_eq!(told(&lines, |_| Ok(())), (String::new(), true));
    }
}
