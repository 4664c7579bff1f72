//! Who is who behind a balancer that speaks HTTP: HAProxy names clients in `X-Forwarded-For`, as gateways do each in its
//! own way.

use super::edge::{free_port, run, start, text};
use crate::harness::{Backend, Server};

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_of_the_client_that_haproxy_names_with_or_without_its_port() {
    let server = Server::builder(&Backend::Embedded)
        .set("DEVICE__TRUSTED_PROXIES", "127.0.0.1/32")
        .set("DEVICE__RATE_LIMIT__PER_SECOND", "0.001")
        .set("DEVICE__RATE_LIMIT__BURST", "2")
        .start()
        .await;
    let to = server.device().base.replace("http://", "");
    let (plain, with_port) = (free_port(), free_port());
    let folder = tempfile::tempdir().expect("a temporary directory");
    let config = folder.path().join("haproxy.cfg");
    let settings = format!(
        "defaults\n mode http\n timeout connect 2s\n timeout client 30s\n timeout server 30s\n\
         frontend plain\n bind 127.0.0.1:{plain}\n option forwardfor\n default_backend replicas\n\
         frontend with_port\n bind 127.0.0.1:{with_port}\n\
         \x20http-request set-header X-Forwarded-For %[src]:%[src_port]\n default_backend replicas\n\
         backend replicas\n server a {to}\n"
    );
    std::fs::write(&config, settings).expect("written");
    let _haproxy = start("haproxy", &["-db", "-f", &config.display().to_string()], plain).await;
    let ask = async |port: u16, client: &str| {
        let url = format!("http://127.0.0.1:{port}/v1/check?product=a&version=1.0.0");
        let curl = ["-sS", "-o", "/dev/null", "-w", "%{http_code}", "--interface", client, &url];
        text(&run("curl", &curl).await.stdout)
    };
    for (port, clients) in [(plain, ["127.0.0.2", "127.0.0.3"]), (with_port, ["127.0.0.4", "127.0.0.5"])] {
        for client in clients {
            let mut answers = Vec::new();
            for _ in 0..3 {
                answers.push(ask(port, client).await);
            }
            assert_eq!(answers, ["404", "404", "429"], "{client}");
        }
    }
}
