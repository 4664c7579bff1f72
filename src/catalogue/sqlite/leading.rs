//! Which replica does a duty. There is one replica, but a command may work beside it.

use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{
    super::Leading,
    SqliteCatalogue,
    reservation::{now_micros, until},
};
use crate::error::Result;

#[async_trait]
impl Leading for SqliteCatalogue {
    async fn lead(&self, duty: &str, holder: Uuid, lease: Duration) -> Result<bool> {
        let mut transaction = self.begin().await?;
        let led = sqlx::query(
            "insert into leads (duty, holder, expires_at) values (?1, ?2, ?3)
             on conflict (duty) do update set holder = excluded.holder, expires_at = excluded.expires_at
             where leads.holder = excluded.holder or leads.expires_at <= ?4",
        )
        .bind(duty)
        .bind(holder.hyphenated())
        .bind(until(lease))
        .bind(now_micros())
        .execute(&mut *transaction)
        .await?;
        transaction.commit().await?;
        Ok(led.rows_affected() > 0)
    }

    async fn stop_leading(&self, duty: &str, holder: Uuid) -> Result<()> {
        let mut transaction = self.begin().await?;
        sqlx::query("delete from leads where duty = ?1 and holder = ?2")
            .bind(duty)
            .bind(holder.hyphenated())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await?;
        Ok(())
    }
}
