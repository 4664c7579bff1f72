//! Keeps the certificate that the device listener shows equal to the files.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use secrecy::ExposeSecret;

use crate::{
    config::TlsSettings,
    error::{Error, Result},
    jobs::Reconciler,
    server::Tls,
};

/// Reads what the settings name.
///
/// # Errors
/// When it is unusable, with what is wrong.
pub fn open_tls(settings: &TlsSettings) -> Result<Arc<Tls>> {
    let secret = settings.ticket_secret.as_ref();
    let secret =
        secret.map(|secret| hex::decode(secret.expose_secret())).transpose().map_err(Error::internal)?;
    Ok(Arc::new(Tls::new(&settings.certificate, &settings.key, secret.as_deref())?))
}

/// The reconciler.
pub struct CertificateJob(pub Arc<Tls>);

#[async_trait]
impl Reconciler for CertificateJob {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn period(&self) -> Duration {
        Duration::from_secs(5)
    }

    async fn pass(&mut self) -> Result<Option<String>> {
        let tls = Arc::clone(&self.0);
        let changed = tokio::task::spawn_blocking(move || tls.reload()).await.map_err(Error::internal)??;
        Ok(changed.then(|| "read a changed certificate".to_owned()))
    }
}
