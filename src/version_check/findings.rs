//! Collects what the rules find, each as strict as the product's policy has it.

use super::{Reason, rule};
use crate::domain::{Policy, policy::Severity};

/// What was found up to now.
#[derive(Debug)]
pub(super) struct Findings<'a> {
    policy: &'a Policy,
    /// What is refused, in the order of the rules.
    pub reasons: Vec<Reason>,
    /// What is only told.
    pub warnings: Vec<Reason>,
}

impl<'a> Findings<'a> {
    pub fn new(policy: &'a Policy) -> Self {
        Self { policy, reasons: Vec::new(), warnings: Vec::new() }
    }

    /// A rule is broken.
    pub fn add(&mut self, code: &'static str, message: impl Into<String>) {
        self.add_as(code, None, message);
    }

    /// A rule is broken, in a way that is only told unless the policy says otherwise.
    pub fn warn(&mut self, code: &'static str, message: impl Into<String>) {
        self.add_as(code, Some(Severity::Warn), message);
    }

    fn add_as(&mut self, code: &'static str, default: Option<Severity>, message: impl Into<String>) {
        let list = match rule::severity(self.policy, code, default) {
            Severity::Off => return,
            Severity::Warn => &mut self.warnings,
            Severity::Refuse => &mut self.reasons,
        };
        let reason = Reason::new(code, message);
        if !list.contains(&reason) {
            list.push(reason);
        }
    }

    /// Whether nothing is refused.
    pub fn is_fine(&self) -> bool {
        self.reasons.is_empty()
    }

    /// The warnings, or all reasons why not.
    pub fn verdict(self) -> Result<Vec<Reason>, Vec<Reason>> {
        if self.reasons.is_empty() { Ok(self.warnings) } else { Err(self.reasons) }
    }
}
