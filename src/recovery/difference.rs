//! What can differ between catalogue, bucket and backup.

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// An image without its object.
    RowWithoutObject,
    /// An object that no image names.
    ObjectWithoutRow,
    /// Another size.
    Size,
    /// Another SHA-256.
    Digest,
    /// Metadata that is missing or another's.
    Metadata,
    /// Another entity tag than the one that was stored.
    Etag,
    /// An upload that nobody goes on with.
    UnfinishedUpload,
    /// A product whose newest state is in no manifest.
    ManifestMissing,
    /// A manifest that cannot be read.
    ManifestDamaged,
    /// An image without its copy in the backup.
    BackupMissing,
    /// A copy in the backup that differs; what differs is in the words.
    BackupDiffers,
}

impl Kind {
    /// Stable, in `kebab-case`.
    pub fn code(self) -> &'static str {
        match self {
            Self::RowWithoutObject => "row-without-object",
            Self::ObjectWithoutRow => "object-without-row",
            Self::Size => "size",
            Self::Digest => "digest",
            Self::Metadata => "metadata",
            Self::Etag => "etag",
            Self::UnfinishedUpload => "unfinished-upload",
            Self::ManifestMissing => "manifest-missing",
            Self::ManifestDamaged => "manifest-damaged",
            Self::BackupMissing => "backup-missing",
            Self::BackupDiffers => "backup-differs",
        }
    }
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// What differs.
    pub kind: Kind,
    /// Where: a key, or a product.
    pub what: String,
    /// How, and what to do.
    pub words: String,
    /// Whether it was repaired.
    pub repaired: bool,
}
