//! Programs of two versions at once, as during an upgrade of wharfd itself.

use std::{
    fs,
    os::{
        fd::{AsRawFd, RawFd},
        unix::fs::chown,
    },
    path::Path,
    sync::Arc,
    thread,
};

use nix::{
    sys::socket::{
        AddressFamily, Backlog, MsgFlags, SockFlag, SockType, UnixAddr, accept, bind, listen, recv,
        send, socket,
    },
    unistd::close,
};
use wharf_frames::{encode, installer::InstallerReply};
use wharf_tests::{
    package::Package,
    scratch_root::WHARFD,
    waiting::{LIMIT, Watched},
};

use crate::stage_set::StageSet;

/// An installer that rejects every question of a newer wharfd.
struct Stranger {
    questions: Arc<Watched<usize>>,
}

impl Stranger {
    /// Listens at this path until another one replaces it.
    fn at(path: &Path) -> Self {
        let _ = fs::remove_file(path);
        let listener = socket(
            AddressFamily::Unix,
            SockType::SeqPacket,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .unwrap();
        bind(listener.as_raw_fd(), &UnixAddr::new(path).unwrap()).unwrap();
        listen(&listener, Backlog::new(8).unwrap()).unwrap();
        chown(path, Some(WHARFD.id), Some(WHARFD.id)).unwrap();
        let questions = Arc::new(Watched::new(0));
        let asked = Arc::clone(&questions);
        thread::spawn(move || {
            while let Ok(client) = accept(listener.as_raw_fd()) {
                answer(client);
                let _ = close(client);
                asked.with(|asked| *asked += 1);
            }
        });
        Self { questions }
    }

    fn wait_for_questions(&self, count: usize) {
        let asked = |asked: &mut usize| (*asked >= count).then_some(());
        let asked = self.questions.wait_for(LIMIT, asked);
        asked.expect("as many questions");
    }
}

fn answer(client: RawFd) {
    let reply = InstallerReply::NotUnderstood("an older installer".into());
    let reply = encode(&reply).unwrap();
    let mut question = vec![0; wharf_frames::MAX_FRAME];
    let _ = recv(client, &mut question, MsgFlags::empty());
    let _ = send(client, &reply, MsgFlags::MSG_NOSIGNAL);
}

#[test]
fn an_installer_that_does_not_know_a_question_is_asked_again_until_it_is_replaced() {
    let mut set = StageSet::simulated();
    set.deliver(&Package::new("hello", "1.0.1"));
    set.gateway.installer().terminate();
    let stranger = Stranger::at(&set.gateway.path().join("run/wharf-installer.sock"));
    set.client().execute("/9/0/4", "").expect("2.04");
    stranger.wait_for_questions(3);
    assert_eq!(set.client().read_text("/9/0/7"), "3");
    set.gateway.start_installer(&[]);
    set.wait_for("4/2");
}
