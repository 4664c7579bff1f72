//! `firmament backup restore`.

use serde_json::json;

use super::{RestoreArguments, direct::Direct};
use crate::{
    backup::{Restore, Restored},
    cli::{
        output::{DONE, Failure, OURS, Report, Terminal},
        table::size,
    },
};

/// Puts back what the bucket lacks or has damaged.
///
/// # Errors
/// When the settings or the catalogue are in the way.
pub fn run(arguments: &RestoreArguments, terminal: &Terminal) -> Result<Report, Failure> {
    let place = &arguments.place;
    let direct = Direct::open(place.config.as_deref(), place.data_dir.as_deref(), place.rate)?;
    let status = direct.status()?;
    let what = Restore {
        product: arguments.product.clone(),
        all: arguments.all,
        deep: arguments.deep,
        dry_run: arguments.dry_run,
    };
    let bytes = (status.copied_bytes + status.lag.bytes).max(1);
    let restored = direct.run(terminal, "restoring", bytes, direct.backup.restore(&what))?;
    Ok(report(&restored, arguments.dry_run))
}

fn report(restored: &Restored, dry_run: bool) -> Report {
    let document = json!({
        "looked_at": restored.looked_at,
        "restored": restored.restored,
        "bytes": restored.bytes,
        "failed": restored.failed,
        "dry_run": dry_run,
    });
    let mut text = String::new();
    for key in &restored.restored {
        text += &format!("{} {key}\n", if dry_run { "would restore" } else { "restored" });
    }
    for failed in &restored.failed {
        text += &format!("could not be restored: {failed}\n");
    }
    let (count, all) = (restored.restored.len(), restored.looked_at);
    text += &match (count, restored.failed.len()) {
        (0, 0) => format!("nothing to restore: the bucket has all {all} objects"),
        (count, 0) if dry_run => format!("would restore {count} of {all} objects, {}", size(restored.bytes)),
        (count, 0) => format!("restored {count} of {all} objects, {}", size(restored.bytes)),
        (count, failed) => format!("restored {count} of {all} objects; {failed} could not be restored"),
    };
    Report { text, document, code: if restored.failed.is_empty() { DONE } else { OURS } }
}
