//! Which replica does a duty. The primary key decides a race; the server's clock decides a lease.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::PgConnection;
use tokio::time::timeout;
use uuid::Uuid;

use super::{
    super::{Leading, stored},
    ANSWER_WITHIN, PostgresCatalogue, call,
};
use crate::error::Result;

#[async_trait]
impl Leading for PostgresCatalogue {
    async fn lead(&self, duty: &str, holder: Uuid, lease: Duration) -> Result<bool> {
        call!(self, lead, duty, holder, lease)
    }

    async fn stop_leading(&self, duty: &str, holder: Uuid) -> Result<()> {
        call!(self, stop_leading, duty, holder)
    }
}

async fn lead(connection: &mut PgConnection, duty: &str, holder: Uuid, lease: Duration) -> Result<bool> {
    let led = sqlx::query!(
        "insert into leads (duty, holder, expires_at)
         values ($1, $2, clock_timestamp() + $3::bigint * interval '1 microsecond')
         on conflict on constraint leads_pkey do update
         set holder = excluded.holder, expires_at = excluded.expires_at
         where leads.holder = excluded.holder or leads.expires_at <= clock_timestamp()",
        duty,
        holder,
        stored::stored_lease(lease)
    )
    .execute(connection)
    .await?;
    Ok(led.rows_affected() > 0)
}

async fn stop_leading(connection: &mut PgConnection, duty: &str, holder: Uuid) -> Result<()> {
    sqlx::query!("delete from leads where duty = $1 and holder = $2", duty, holder)
        .execute(connection)
        .await?;
    Ok(())
}
