//! What the process left behind that used this data directory before.

use uuid::Uuid;

use crate::{catalogue::Catalogue, error::Result};

/// Ends the lead of a duty that this replica had in its life before, once: that process is dead, so its lease need not run
/// out.
pub(super) async fn stop_leading(
    earlier_life: &mut Option<Uuid>,
    duty: &str,
    catalogue: &dyn Catalogue,
) -> Result<()> {
    if let Some(dead) = *earlier_life {
        catalogue.stop_leading(duty, dead).await?;
        *earlier_life = None;
    }
    Ok(())
}
