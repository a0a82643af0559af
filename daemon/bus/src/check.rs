//! The result of one check of `wharfctl doctor`. wharfd prints its checks as JSON, and wharfctl reads them.

use serde::{Deserialize, Serialize};

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// The subject of the check.
    pub check: String,
    /// Whether it is good.
    pub verdict: CheckVerdict,
    /// The fact.
    pub found: String,
    /// The remedy.
    pub advice: Option<String>,
}

/// Whether a result is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CheckVerdict {
    /// It is good.
    Ok,
    /// It may be wrong.
    Warn,
    /// It is wrong.
    Fail,
}

/// A good result.
pub fn ok(check: &str, found: impl Into<String>) -> CheckResult {
    CheckResult {
        check: check.to_owned(),
        verdict: CheckVerdict::Ok,
        found: found.into(),
        advice: None,
    }
}

/// A result that is not good, with the remedy.
pub fn bad(
    check: &str,
    verdict: CheckVerdict,
    found: impl Into<String>,
    advice: impl Into<String>,
) -> CheckResult {
    CheckResult {
        check: check.to_owned(),
        verdict,
        found: found.into(),
        advice: Some(advice.into()),
    }
}
