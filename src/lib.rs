//! Firmament distributes firmware to fleets of IoT devices.
//!
//! Publishers POST images over a private listener; the version check judges them against the catalogue; the bytes go
//! to a bucket; devices ask a public listener "is there newer firmware?" and get a link. N identical replicas run
//! behind a load balancer.
//!
//! # Three ideas
//! 1. **A check never touches a database.** Each replica holds an immutable [`domain::Snapshot`] of all that a check
//!    needs. Catalogue down, bucket down: devices are still answered, also by a replica that starts then.
//! 2. **Bytes first, row second, offer last.** An image becomes visible in one transaction, after its object is
//!    complete and verified in the bucket. A row never points at a missing object; a key is never rewritten.
//! 3. **Background work is a reconciler** ([`jobs`]): it compares the wanted state with the real one, is woken by an
//!    event and by a timer, takes no input, is idempotent, and shows its last outcome.
//!
//! # The way of a publish
//! [`http::publisher`] authenticates -> [`version_check::admit`] on what is declared -> [`publishing`] reserves in the
//! [`catalogue`] -> streams to the [`bucket`], hashing -> [`version_check::verify`] on what arrived -> completes the
//! object -> one transaction -> wakes the reconcilers -> 201. Large images come in pieces ([`publishing::resumable`]): the
//! same steps, but the object is completed first, and read back to be hashed and judged.
//!
//! # The way of a check
//! [`http::device`] takes the facts from the query -> snapshot -> [`domain::decide`] -> answer with a link by [`cdn`].
//!
//! # The way of a backup
//! [`backup`] copies each new image to a second bucket, reads both again in time, and heals one from the other.
//! # Beside the ways
//! [`simulate`] is a fleet of devices, [`cost`] what delivery costs a month; both know nothing of the server's parts.
//!
//! # Who may know whom
//! [`domain`], [`version_check`] and [`cost`] are pure and know nobody; [`http`] never names a database or store client;
//! [`catalogue`], [`bucket`] and [`cdn`] never name the web framework; only [`app`] sees all. `tests/suite/layering.rs` holds it.

pub mod api;
pub mod app;
pub mod backup;
pub mod bucket;
pub mod catalogue;
pub mod cdn;
pub mod cli;
pub mod config;
pub mod cost;
pub mod data_dir;
pub mod domain;
pub mod error;
pub mod http;
pub mod jobs;
pub mod publishing;
pub mod recovery;
pub mod server;
pub mod simulate;
pub mod size;
pub mod telemetry;
pub mod version_check;
