//! Work that one replica does at a time: the lead is renewed beside the work, and the work ends with it.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use uuid::Uuid;

use crate::{
    catalogue::Catalogue,
    error::{Error, Kind, Result},
};

/// How long a leader that has died keeps others waiting.
pub const LEASE: Duration = Duration::from_secs(30);
/// How often it is renewed.
const RENEWED: Duration = Duration::from_secs(7);

/// Does the work if this holder leads, and as long as it does; `None` = somebody else leads. The lead is kept afterwards, so
/// that the next pass need not look for it, until its lease is over or it is given back.
///
/// # Errors
/// Those of the work and of the catalogue; kind `Unavailable` and code `lead-lost` when the lead could not be renewed.
pub async fn leading<T>(
    catalogue: &dyn Catalogue,
    duty: &str,
    holder: Uuid,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    if !catalogue.lead(duty, holder, LEASE).await? {
        return Ok(None);
    }
    let keep = async {
        let mut renewed = Instant::now();
        loop {
            sleep(RENEWED).await;
            let asked = Instant::now();
            match catalogue.lead(duty, holder, LEASE).await {
                Ok(true) => renewed = asked,
                Ok(false) => return "another replica has taken it over".to_owned(),
                Err(error) if renewed.elapsed() + RENEWED > LEASE => return error.cause(),
                Err(_) => {}
            }
        }
    };
    tokio::select! {
        done = work => done.map(Some),
        why = keep => {
            let message = format!("the lead of the duty {duty:?} was lost; it is gone on with later");
            Err(Error::new(Kind::Unavailable, "lead-lost", message).caused_by(why))
        }
    }
}
