//! The reason why an order was not carried out: a failure, or "not now". The type tells them apart, not the cause.

use std::cell::RefCell;

use wharf_frames::Failure;

/// The reason why an order was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OrderError {
    /// It failed.
    Failed(Failure),
    /// Something of this device cannot be used now. The same order may be carried out later. If it has begun, it is
    /// interrupted.
    NotNow(Failure),
}

impl From<Failure> for OrderError {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl From<OrderError> for Failure {
    fn from(error: OrderError) -> Self {
        match error {
            OrderError::Failed(failure) | OrderError::NotNow(failure) => failure,
        }
    }
}

/// Carries "not now" through a callback that fails with a [`Failure`].
#[derive(Debug, Default)]
pub struct PutOff(RefCell<Option<Failure>>);

impl PutOff {
    /// The failure for the callback.
    pub fn note(&self, error: OrderError) -> Failure {
        let is_not_now = matches!(error, OrderError::NotNow(_));
        let failure = Failure::from(error);
        self.0.replace(is_not_now.then(|| failure.clone()));
        failure
    }

    /// The error of the order. Any failure but the noted one is final: it may come of a changed device.
    pub fn told(&self, error: OrderError) -> OrderError {
        match error {
            OrderError::Failed(failure) if self.0.take().as_ref() == Some(&failure) => {
                OrderError::NotNow(failure)
            }
            error => error,
        }
    }
}
