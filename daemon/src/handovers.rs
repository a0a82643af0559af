//! The handover of a job to the installer. A cancel must not overtake its job: the installer would not know the job yet.

use std::{cell::RefCell, collections::BTreeMap, rc::Rc};

use tokio::sync::oneshot;
use wharf_frames::{Failure, OperationId};

/// The jobs that the installer may not have yet, each with the cancel that waits for the handover.
#[derive(Debug, Clone, Default)]
pub struct Handovers(Rc<RefCell<BTreeMap<OperationId, Option<Wish>>>>);

type Wish = oneshot::Sender<Result<(), Failure>>;

/// One handover; it ends when dropped.
#[derive(Debug)]
pub struct Handover {
    all: Handovers,
    operation: OperationId,
}

impl Handovers {
    /// Begins the handover of a job to the installer.
    pub fn begin(&self, operation: OperationId) -> Handover {
        self.0.borrow_mut().insert(operation, None);
        Handover {
            all: self.clone(),
            operation,
        }
    }

    /// The receiver for the outcome of a cancel; none if the installer has the job.
    pub fn wish(&self, operation: OperationId) -> Option<oneshot::Receiver<Result<(), Failure>>> {
        let mut all = self.0.borrow_mut();
        let wish = all.get_mut(&operation)?;
        let (sender, outcome) = oneshot::channel();
        *wish = Some(sender);
        Some(outcome)
    }
}

impl Handover {
    /// Whether a cancel waits.
    pub fn is_unwanted(&self) -> bool {
        let all = self.all.0.borrow();
        all.get(&self.operation).is_some_and(Option::is_some)
    }

    /// The installer has the job: later cancels go straight to the installer.
    pub fn end(&self, outcome: &Result<(), Failure>) {
        let wish = self.all.0.borrow_mut().remove(&self.operation);
        if let Some(wish) = wish.flatten() {
            let _ = wish.send(outcome.clone()); // the caller may have gone
        }
    }
}

impl Drop for Handover {
    fn drop(&mut self) {
        self.all.0.borrow_mut().remove(&self.operation);
    }
}
