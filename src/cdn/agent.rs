//! The HTTP client towards the CDN: blocking, so it is used on threads that may block.

use std::{sync::Arc, time::Duration};

use ureq::{
    Agent,
    tls::{RootCerts, TlsConfig, TlsProvider},
};

/// How long it may take until a connection is there.
const CONNECT: Duration = Duration::from_secs(10);

/// A client whose answers begin within `patience`, and whose bodies never stand still for longer. Statuses are shown and
/// not errors; a redirect is shown too: followed, it would have to be signed anew, and a device may not follow it.
pub(super) fn agent(patience: Duration) -> Agent {
    let tls = TlsConfig::builder()
        .provider(TlsProvider::Rustls)
        .root_certs(RootCerts::PlatformVerifier)
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("firmament/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .timeout_resolve(Some(CONNECT))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(patience))
        .timeout_per_read(Some(patience))
        .build()
        .into()
}
