//! The harness of the whole-process tests: the real binary as a child, real stores, and what stands between them.
//!
//! - [`server`]: starts, ends and kills the binary, and reads its logs
//! - [`stores`]: the embedded default, or a PostgreSQL database and an S3 bucket, and a look into both
//! - [`proxy`]: a TCP proxy that can be cut or hung
//! - [`edge`]: a CDN edge before the bucket, and its purge API
//! - [`faulty`]: a CDN edge that serves wrongly
//! - [`link`]: a link to several replicas that drops
//! - [`client`]: HTTP, as a publisher and as a device
//! - [`tus`]: tus 1.0, by hand
//! - [`raw`]: HTTP as no well-behaved client sends it
//! - [`command`]: the binary's client commands
//! - [`backup`]: a place for a backup, and a look into it
//!
//! Nothing here sleeps and hopes: [`eventually`] waits for a condition, generously, and fails with its name.

use std::time::{Duration, Instant};

use bytes::Bytes;

pub mod backup;
pub mod client;
pub mod command;
pub mod edge;
pub mod faulty;
pub mod link;
pub mod proxy;
pub mod raw;
pub mod server;
pub mod stores;
pub mod tus;

pub use client::{Answer, Device, Publisher};
pub use edge::Edge;
pub use raw::Raw;
pub use server::Server;
pub use stores::{Backend, Stores};

/// How long a condition may take to come true; reached only by a test that fails.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `probe` finds something.
pub async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(found) = probe().await {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{what}: not within {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Bytes that no other seed gives.
pub fn content(size: usize, seed: u64) -> Bytes {
    let mut bytes = vec![0; size];
    fastrand::Rng::with_seed(seed).fill(&mut bytes);
    Bytes::from(bytes)
}

/// A product's name that no other test uses.
pub fn product_name() -> String {
    format!("t-{}", uuid::Uuid::now_v7().simple())
}

/// Defines each case on the embedded default and on PostgreSQL with S3.
macro_rules! on_both {
    ($($case:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::harness::Backend::Embedded).await;
            })*
        }
        mod production {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case($crate::harness::Backend::production().await).await;
            })*
        }
    };
}
pub(crate) use on_both;
