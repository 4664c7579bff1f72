//! The stable codes of the rules. A code never changes its meaning and is never used again for another rule.

/// The body is empty.
pub const IMAGE_EMPTY: &str = "image-empty";
/// The body is larger than the product's or the global limit.
pub const IMAGE_TOO_LARGE: &str = "image-too-large";
/// The declared `Repr-Digest` is not that of the bytes that arrived.
pub const DIGEST_MISMATCH: &str = "digest-mismatch";
/// The product lists its hardware, and this is not in the list.
pub const HARDWARE_UNKNOWN: &str = "hardware-unknown";
/// The version carries build metadata, which has no precedence.
pub const VERSION_BUILD_METADATA: &str = "version-build-metadata";
/// The version was recalled; a recalled version is never used again.
pub const VERSION_RECALLED: &str = "version-recalled";
/// The channel offers a higher version for that hardware.
pub const VERSION_NOT_NEWER: &str = "version-not-newer";
/// `allow_downgrade` without a reason.
pub const DOWNGRADE_REASON_MISSING: &str = "downgrade-reason-missing";
/// The downgrade would also take an offer from hardware that the release does not serve.
pub const DOWNGRADE_TOO_WIDE: &str = "downgrade-too-wide";
/// The same bytes are published as another version.
pub const SAME_BYTES: &str = "same-bytes";
