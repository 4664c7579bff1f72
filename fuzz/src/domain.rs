//! The part of the service's module of this name that inspectors use.

#[path = "../../src/domain/facts.rs"]
pub mod facts;
#[path = "../../src/domain/version.rs"]
pub mod version;

pub use version::Version;
