//! The secrets that a product's devices are known by.

use async_trait::async_trait;

use super::{
    super::{Audit, Secrets, Written, stored},
    SqliteCatalogue,
    write::{advance, finish},
};
use crate::{
    domain::{DeviceSecrets, ProductName, ProductState, Revision},
    error::Result,
};

#[async_trait]
impl Secrets for SqliteCatalogue {
    async fn put_device_secrets(
        &self,
        product: &ProductName,
        secrets: &DeviceSecrets,
        judged_at: Revision,
        audit: &Audit,
    ) -> Result<Written<ProductState>> {
        stored::check_texts(audit, [])?;
        let mut transaction = self.begin().await?;
        let Some((id, revision)) = advance(&mut transaction, product, judged_at).await? else {
            transaction.rollback().await?;
            return Ok(Written::Stale);
        };
        sqlx::query("update products set device_secrets = ?2 where id = ?1")
            .bind(id.hyphenated())
            .bind(secrets.to_bytes())
            .execute(&mut *transaction)
            .await?;
        let written = finish(&mut transaction, (id, product), revision, audit).await?;
        self.settle(transaction, written).await
    }
}
