//! A persistent server of a fleet operator: after a timeout, it checks the state and retries. A request that was
//! answered 2.xx is never repeated.

use wharf_tests::{
    server::{Client, Response, TestServer, format},
    waiting::wait_until,
};

use crate::{
    line::GATEWAY_TIMEOUT,
    vendor::{NAME, PASSWORD, USER_NAME, Vendor, version},
};

/// A request of the operator for an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Create it with the URI of this release.
    Create(u32),
    /// Write the URI of this release, with User Name and Password.
    Pull(u32),
    /// Write the package of this release.
    Push(u32),
    Install,
    Activate,
    Deactivate,
    ForUpdate,
    Uninstall,
    Delete,
}

/// The result of a request.
enum End {
    Done,
    Failed,
    /// A push was cut off before all blocks were answered: it is repeated.
    Abandoned,
}

/// The operator of one instance.
pub(crate) struct Operator<'a> {
    pub(crate) vendor: &'a Vendor,
    pub(crate) server: &'a TestServer,
    pub(crate) instance: u16,
}

impl Operator<'_> {
    /// Has it tried once, in spite of crashes of the agent; repeats it after a timeout. False if it failed, by Update
    /// Result and Status Reason.
    pub(crate) fn try_for(&self, ask: Ask) -> bool {
        let failed_before = self.is_failed(ask);
        let mut is_repeated = false;
        loop {
            let response = self.send(ask);
            let unanswered = response.code == GATEWAY_TIMEOUT;
            if unanswered {
                self.wait_for_agent();
                is_repeated = true;
                // In this order: an end that the first read shows stays an end.
                if !self.is_begun(ask) && (failed_before || !self.is_failed(ask)) {
                    continue;
                }
                if matches!(ask, Ask::Push(_)) {
                    continue; // it ended with the answers to its blocks
                }
            }
            let accepted = unanswered || response.code.to_string().starts_with('2');
            assert!(accepted || is_repeated, "{ask:?} is refused: {response:?}");
            match self.wait_for_end(ask, accepted) {
                End::Done => return true,
                End::Failed => return false,
                End::Abandoned => {}
            }
        }
    }

    fn wait_for_end(&self, ask: Ask, accepted: bool) -> End {
        wait_until(&format!("the end of {ask:?}"), || {
            if self.is_done(ask) {
                Some(End::Done)
            } else if !accepted && self.is_abandoned(ask) {
                Some(End::Abandoned)
            } else {
                self.is_failed(ask).then_some(End::Failed)
            }
        })
    }

    fn client(&self) -> Client<'_> {
        self.server.wait_for_client()
    }

    fn send(&self, ask: Ask) -> Response {
        let (client, of) = (self.client(), format!("/9/{}", self.instance));
        match ask {
            Ask::Create(release) => {
                let values = self.order(release);
                client.create("/9", Some(self.instance), &values)
            }
            Ask::Pull(release) => client.write_instance(&of, &self.order(release)),
            Ask::Push(release) => {
                let package = &self.vendor.release(release).pushed;
                client.push(&format!("{of}/2"), format::OPAQUE, package, 512)
            }
            Ask::Install => client.execute(&format!("{of}/4"), ""),
            Ask::Activate => client.execute(&format!("{of}/10"), ""),
            Ask::Deactivate => client.execute(&format!("{of}/11"), ""),
            Ask::ForUpdate => client.execute(&format!("{of}/6"), "1"),
            Ask::Uninstall => client.execute(&format!("{of}/6"), ""),
            Ask::Delete => client.delete(&of),
        }
    }

    fn order(&self, release: u32) -> [(u16, &[u8]); 3] {
        let uri = self.vendor.release(release).uri.as_bytes();
        [
            (3, uri),
            (14, USER_NAME.as_bytes()),
            (15, PASSWORD.as_bytes()),
        ]
    }

    fn is_done(&self, ask: Ask) -> bool {
        match ask {
            Ask::Create(release) | Ask::Pull(release) | Ask::Push(release) => {
                self.update() == "3/0" && self.has(1, &version(release))
            }
            Ask::Install => self.update() == "4/2" && self.has(0, NAME),
            Ask::Activate => self.has(12, "1"),
            Ask::Deactivate => self.has(12, "0"),
            Ask::ForUpdate => self.update() == "0/0",
            Ask::Uninstall => self.update() == "0/0" && self.has(0, ""),
            Ask::Delete => self.read(7).code == "4.04",
        }
    }

    fn is_failed(&self, ask: Ask) -> bool {
        let update = self.update();
        match ask {
            Ask::Create(_) | Ask::Pull(_) | Ask::Push(_) => update.starts_with("0/5"),
            Ask::Install => update.starts_with("3/5"),
            Ask::Uninstall => update == "4/59",
            // A failed activation has no Result of its own, only a Status Reason.
            Ask::Activate | Ask::Deactivate => {
                self.text(16).is_some_and(|why| why.contains("given up"))
            }
            Ask::ForUpdate | Ask::Delete => false,
        }
    }

    /// Whether it was accepted and has not ended.
    fn is_begun(&self, ask: Ask) -> bool {
        let reason = self.text(16).unwrap_or_default();
        match ask {
            Ask::Create(_) | Ask::Pull(_) => ["1/1", "2/0"].contains(&self.update().as_str()),
            Ask::Install => reason.starts_with("50: "),
            Ask::Uninstall => reason.contains(": removing "),
            _ => false,
        }
    }

    fn is_abandoned(&self, ask: Ask) -> bool {
        matches!(ask, Ask::Push(_)) && self.update().starts_with("0/")
    }

    fn wait_for_agent(&self) {
        wait_until("an agent that answers", || {
            (self.read(7).code != GATEWAY_TIMEOUT).then_some(())
        });
    }

    /// Update State and Update Result: `3/0`; empty without an agent.
    fn update(&self) -> String {
        let both = self.text(7).zip(self.text(9));
        both.map_or_else(String::new, |(state, result)| format!("{state}/{result}"))
    }

    fn has(&self, resource: u16, value: &str) -> bool {
        self.text(resource).is_some_and(|text| text == value)
    }

    fn text(&self, resource: u16) -> Option<String> {
        let response = self.read(resource);
        (response.code == "2.05").then(|| response.text())
    }

    fn read(&self, resource: u16) -> Response {
        let path = format!("/9/{}/{resource}", self.instance);
        self.client().read_as(&path, format::TEXT)
    }
}
