//! A gateway whose programs are restarted whenever they end, as systemd does.

use std::{
    collections::VecDeque,
    process::ExitStatus,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use wharf_tests::gateway::Gateway;

use crate::{left::Left, line::Line};

const BETWEEN_LOOKS: Duration = Duration::from_millis(3);

/// The most starts until the last effect is recorded as done.
const STARTS: u32 = 20;

/// A gateway on the line to its server.
pub(crate) struct Kept {
    pub(crate) gateway: Mutex<Gateway>,
    line: Line,
    /// The exit points of wharfd, one for each run. Later runs have none.
    faults: Mutex<VecDeque<String>>,
    ends: Mutex<Vec<End>>,
}

/// An unexpected end of wharfd.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    pub(crate) left: Left,
}

impl Kept {
    /// Both programs are started.
    pub(crate) fn start(mut gateway: Gateway, line: Line, faults: &[&str]) -> Self {
        gateway.configure(&line.uri(), "");
        gateway.start_installer(&[]);
        let faults: VecDeque<String> = faults.iter().map(|fault| (*fault).to_owned()).collect();
        let kept = Self {
            gateway: Mutex::new(gateway),
            line,
            faults: Mutex::new(faults),
            ends: Mutex::default(),
        };
        kept.start_daemon(&mut kept.gateway.lock().unwrap());
        kept
    }

    fn start_daemon(&self, gateway: &mut Gateway) {
        match self.faults.lock().unwrap().pop_front() {
            Some(fault) => gateway.start_daemon(&[("WHARF_FAULT_AT", &fault)]),
            None => gateway.start_daemon(&[]),
        }
    }

    /// Does `act` while the programs are kept running, then stops wharfd. Returns every other end of it.
    pub(crate) fn during(&self, act: impl FnOnce()) -> Vec<End> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let _end = EndsWith(&over);
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    self.look_after();
                    thread::sleep(BETWEEN_LOOKS);
                }
            });
            act();
        });
        self.gateway.lock().unwrap().daemon().terminate();
        std::mem::take(&mut self.ends.lock().unwrap())
    }

    fn look_after(&self) {
        let Ok(mut gateway) = self.gateway.lock() else {
            return; // the test has failed
        };
        if let Some(status) = gateway.daemon().exit_status() {
            self.line.agent_ended();
            let left = Left::on(&gateway.path());
            self.ends.lock().unwrap().push(End { status, left });
            self.start_daemon(&mut gateway);
        }
        if !gateway.installer().is_running() {
            gateway.start_installer(&[]);
        }
    }

    /// The state after the end of all effects. A finished effect may still be in the database; the next start sees that
    /// it is done.
    pub(crate) fn settled(&self) -> Left {
        let mut gateway = self.gateway.lock().unwrap();
        let mut starts = 0;
        loop {
            let left = Left::on(&gateway.path());
            if left.pending.is_empty() {
                return left;
            }
            assert!(starts < STARTS, "never ends: {:?}", left.pending);
            starts += 1;
            gateway.start_daemon(&[]);
            gateway.daemon().errors().wait_for("registered");
            gateway.daemon().terminate();
        }
    }
}

/// For tests that use several gateways in turn.
impl From<Kept> for Gateway {
    fn from(kept: Kept) -> Self {
        kept.gateway.into_inner().unwrap()
    }
}

/// Signals the end to the threads of a scope, also when a test fails in it.
pub(crate) struct EndsWith<'a>(pub(crate) &'a AtomicBool);

impl Drop for EndsWith<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
