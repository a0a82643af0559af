//! One run of all stories without a cut: the log of the disk, and the positions of requests and answers in it.

use std::{fs, ops::Range, process::Command};

use wharf_tests::{
    command::output_of,
    disk::{Image, LogEntry},
    gateway::{ENDPOINT, SHORT_TIMES},
    keys::Signer,
    scratch_root::add_folders,
    server::{Memory, TestServer},
    waiting::wait_until,
};

use crate::{
    left,
    machine::Machine,
    memories::{Memories, OBSERVED, told_by},
    story::{ASKS, ORIGIN, SERVER, STORIES, Vendor},
    world::World,
};

/// The recorded stories.
pub(crate) struct Recording {
    pub(crate) base: Image,
    pub(crate) log: Vec<LogEntry>,
    /// The part of the log that each story has.
    pub(crate) stories: Vec<Range<usize>>,
    marks: Vec<(usize, Mark)>,
    pub(crate) memories: Memories,
}

/// An event of an ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// The server is about to send it.
    Sent(usize),
    /// It was answered 2.xx.
    Accepted(usize),
}

/// The server's knowledge, in numbers of [`crate::story::RESTS`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// The latest state whose request was accepted, or that was notified.
    pub(crate) accepted: usize,
    /// The latest state that was requested.
    pub(crate) asked: usize,
    /// The latest state that was notified.
    pub(crate) told: usize,
}

impl Known {
    /// The same, with the state of these notifications.
    pub(crate) fn and_told(mut self, memory: &Memory) -> Self {
        self.told = told_by(memory.notifications());
        self.accepted = self.accepted.max(self.told);
        self
    }
}

impl Recording {
    /// Records the stories in this world.
    pub(crate) fn of(world: &World, vendor: &Vendor) -> Self {
        let base = Image::of(&vendor.manager.disk());
        let _origin = vendor.origin();
        let mut machine = Machine::with(vendor.manager, base.clone()).expect("a disk that mounts");
        let memories = Memories::from(Memory::default());
        let server = memories.server(&machine.disk);
        set_up(&machine, vendor);
        machine.boot(world);
        let client = server.wait_for_client();
        for (resource, value) in OBSERVED {
            let observed = client.observe(&format!("/9/0/{resource}"));
            assert_eq!(observed.text(), value, "/9/0/{resource}");
        }
        let (marks, stories) = tell(&machine, &server, vendor);
        Self {
            base,
            log: machine.disk.log(),
            stories,
            marks,
            memories,
        }
    }

    /// The server's knowledge at this position of the log.
    pub(crate) fn known_at(&self, position: usize) -> Known {
        let mut known = Known {
            accepted: 0,
            asked: 0,
            told: 0,
        };
        for (at, mark) in &self.marks {
            if *at > position {
                continue;
            }
            match mark {
                Mark::Sent(ask) => known.asked = known.asked.max(ask + 1),
                Mark::Accepted(ask) => known.accepted = known.accepted.max(ask + 1),
            }
        }
        known.and_told(&self.memories.at(position))
    }

    pub(crate) fn described(&self) -> String {
        let flushes = |range: &Range<usize>| {
            let entries = self.log[range.clone()].iter();
            entries
                .filter(|entry| matches!(entry, LogEntry::Flush))
                .count()
        };
        let stories = STORIES.iter().zip(&self.stories);
        let described = stories.map(|(story, range)| {
            let flushes = flushes(range);
            format!(
                "{} has {} writes and {flushes} flushes",
                story.name,
                range.len() - flushes
            )
        });
        described.collect::<Vec<_>>().join(", ")
    }
}

/// The engine repeats an Update with another Message ID after 31 times 200 ms. In one of 256 cuts between the Update of a
/// start and the next commit, two runs use the same Message ID, and the server ignores the second Update.
const GIVES_UP: &str = "ack-timeout = 200\n";

/// Configures the gateway as an administrator does. apt has no source of packages, since there is no network.
fn set_up(machine: &Machine, vendor: &Vendor) {
    let root = &machine.root;
    add_folders(root);
    for lists in ["var/lib/apt/lists", "etc/apt/sources.list.d"] {
        fs::remove_dir_all(root.join(lists)).unwrap();
        fs::create_dir(root.join(lists)).unwrap();
    }
    let _ = fs::remove_file(root.join("etc/apt/sources.list"));
    let policy = format!("backend = \"{}\"\n", vendor.manager.name());
    fs::write(root.join("etc/wharfd/installer.toml"), policy).unwrap();
    vendor.keys.trust(Signer::Vendor, root);
    let text = format!(
        "endpoint = \"{ENDPOINT}\"\n\n[[server]]\nuri = \"coap://127.0.0.1:{SERVER}\"\nunprotected = true\n\n[download]\n\
         credentials-over-http = [\"http://127.0.0.1:{ORIGIN}\"]\n\n{SHORT_TIMES}{GIVES_UP}"
    );
    fs::write(root.join("etc/wharfd/wharfd.toml"), text).unwrap();
    sync(machine);
}

/// Writes everything to the disk.
fn sync(machine: &Machine) {
    output_of(Command::new("sync").arg("--file-system").arg(&machine.root));
}

type Told = (Vec<(usize, Mark)>, Vec<Range<usize>>);

fn tell(machine: &Machine, server: &TestServer, vendor: &Vendor) -> Told {
    let (mut marks, mut stories) = (Vec::new(), Vec::new());
    let (client, position) = (server.wait_for_client(), machine.disk.position());
    let mut asks = ASKS.iter().enumerate();
    for story in &STORIES {
        let begin = position.now();
        for (number, ask) in asks.by_ref().take(story.asks) {
            marks.push((position.now(), Mark::Sent(number)));
            let answer = ask.send(&client, vendor).code.to_string();
            assert!(answer.starts_with('2'), "{ask:?}: {answer}");
            marks.push((position.now(), Mark::Accepted(number)));
            wait_until(&format!("the end of {ask:?}"), || {
                (told_by(&server.notifications()) > number).then_some(())
            });
        }
        if client.read_text("/9/0/7") != "3" {
            left::wait_until_unstaged(&machine.root);
        }
        sync(machine);
        stories.push(begin..position.now());
    }
    (marks, stories)
}
