//! Places at which a test may kill the process, as `kill -9` would, to see what a crash leaves behind.
//!
//! In a debug build, the environment variable `FIRMAMENT_CRASH_AT` names the place. A release build has none of it.

/// Every place, in the order in which a publish passes them.
pub const POINTS: [&str; 8] =
    ["admitted", "reserved", "first-bytes", "flushed", "verified", "completed", "committed", "answered"];

/// Every place in the life of a resumable upload, in order; then come `committed` and `answered`.
pub const UPLOAD_POINTS: [&str; 6] = [
    "upload-created",
    "upload-part",
    "upload-parked",
    "upload-completing",
    "upload-completed",
    "upload-sealed",
];

/// Every place between a recall and the CDN's confirmation that it forgets, in order.
pub const PURGE_POINTS: [&str; 3] = ["recalled", "purge-asked", "purge-sent"];

/// Kills the process if the environment says so.
#[cfg(debug_assertions)]
pub fn point(name: &str) {
    let known = [&POINTS[..], &UPLOAD_POINTS, &PURGE_POINTS];
    debug_assert!(known.iter().any(|points| points.contains(&name)), "{name} is not listed");
    if std::env::var("FIRMAMENT_CRASH_AT").is_ok_and(|at| at == name) {
        let me = std::process::id().to_string();
        // SIGKILL runs no destructor and flushes nothing, which abort() and exit() would.
        let _ = std::process::Command::new("kill").args(["-9", &me]).status();
        std::thread::sleep(std::time::Duration::from_secs(10));
    }
}

/// Does nothing: this is a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn point(_name: &str) {}
