//! The secrets that a product's devices are known by. The change has the shape of those in `write`.

use async_trait::async_trait;
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use super::{
    super::{Audit, Secrets, Written, stored},
    ANSWER_WITHIN, PostgresCatalogue,
    write::{advance, finish, next_revision},
};
use crate::{
    domain::{DeviceSecrets, ProductName, ProductState, Revision},
    error::Result,
};

#[async_trait]
impl Secrets for PostgresCatalogue {
    async fn put_device_secrets(
        &self,
        product: &ProductName,
        secrets: &DeviceSecrets,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        let mut session = self.session().await?;
        let work = put(&mut session.connection, product, secrets, judged_at, audit);
        let outcome = timeout(ANSWER_WITHIN, work).await;
        session.end(outcome)
    }
}

async fn put(
    connection: &mut PgConnection,
    product: &ProductName,
    secrets: &DeviceSecrets,
    judged_at: Revision,
    audit: &Audit,
) -> Result<Written<ProductState>> {
    stored::check_texts(audit, [])?;
    let mut transaction = connection.begin().await?;
    let revision = next_revision(&mut transaction).await?;
    let Some(id) = advance(&mut transaction, product, judged_at, revision).await? else {
        transaction.rollback().await?;
        return Ok(Written::Stale);
    };
    sqlx::query!("update products set device_secrets = $2 where id = $1", id, secrets.to_bytes())
        .execute(&mut *transaction)
        .await?;
    finish(transaction, (id, product), revision, audit).await
}
