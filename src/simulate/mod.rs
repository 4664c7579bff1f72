//! A fleet in one process: many devices that ask a running server as real ones do, for capacity planning and soak tests.
//!
//! # The way of a check
//! [`fleet`] says whose check is due -> [`pace`] gives it one of the run's checks per second -> [`http`] asks ->
//! the answer goes to the [`tally`] and back to the fleet, which sets the device's next check by `Retry-After`, or wants
//! the image: [`download`] fetches and verifies it, the device installs for a while, and then runs the new version.
//! [`drive`] is the loop around all of it.
//!
//! # What holds
//! - A device is a small struct in a heap, not a task; the tasks are the checks and downloads under way, which are bounded.
//! - No device asks before the `Retry-After` of its last answer has passed (divided by the speed of the run).
//! - In any second no more checks are sent, and no more bytes of images fetched, than the rates allow, and a run ends.
//! - Nothing but loopback is connected to unless the caller owns the server: [`reach`] looks at the addresses and not at
//!   names, for the server, for links and for redirects.
//!
//! # What it does not do
//! It knows nothing of the server but the device listener's HTTP, and prints nothing: the command line does.

pub mod download;
pub mod drive;
pub mod fleet;
pub mod http;
pub mod mix;
pub mod pace;
pub mod reach;
pub mod report;
pub mod tally;

pub use drive::{Plan, run};
pub use mix::Mix;
pub use reach::{Place, Reach};
pub use report::{Ended, Summary};
