//! A device listener that speaks TLS by itself, with nothing before it: what it offers leads back to it.

use std::path::Path;

use http::Method;

use super::edge::{certificate, run, text};
use crate::harness::{Backend, Server, content, eventually};

/// A server whose device listener has a certificate for localhost; with the certificate's path.
async fn over_tls(folder: &Path) -> (Server, String) {
    let (certificate, key) = certificate(folder, "fw").await;
    let builder = Server::builder(&Backend::Embedded)
        .set("DEVICE__TLS__CERTIFICATE", &certificate)
        .set("DEVICE__TLS__KEY", &key)
        .not_ready();
    (builder.start().await, certificate)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_offered_over_tls_is_downloaded_over_tls() {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let (server, certificate) = over_tls(folder.path()).await;
    let publisher = server.publisher();
    // The version check knows that links are https, too.
    for (product, delivery) in [("p", r#"{"url":{"scheme":"https"}}"#), ("q", r#"{"link":"short"}"#)] {
        let settings = format!(r#"{{"delivery":{delivery}}}"#);
        publisher.request(Method::PUT, &format!("/v1/products/{product}"), Some(&settings)).await.expect(201);
        let image = content(200_000, 1100);
        publisher.upload(product, "1.0.0").channel("stable").send(image.clone()).await.expect(201);
        let base = server.device().base.replace("127.0.0.1", "localhost");
        let check = format!("{base}/v1/check?product={product}&version=0.1.0");
        let curl = ["-sS", "--cacert", &certificate];
        let offer: serde_json::Value = eventually("the offer", async || {
            let answer = run("curl", &[&curl[..], &[&check]].concat()).await;
            serde_json::from_slice(&answer.stdout)
                .ok()
                .filter(|offer: &serde_json::Value| offer["url"].is_string())
        })
        .await;
        let url = offer["url"].as_str().expect("a link");
        assert!(url.starts_with(&format!("{base}/")), "{url}");
        let got = run("curl", &[&curl[..], &["-L", "--proto-redir", "=https", url]].concat()).await;
        assert!(got.status.success() && got.stdout == image, "{url}: {}", text(&got.stderr));
    }
}
