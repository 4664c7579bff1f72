//! The part of the service's module of this name that is fuzzed.

#[path = "../../src/version_check/inspect/mod.rs"]
pub mod inspect;
