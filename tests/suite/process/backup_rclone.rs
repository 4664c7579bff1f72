//! Beside rclone (Debian's package), on the same buckets: each finds the other's work done.

use std::process::Output;

use firmament::bucket::S3Settings;
use secrecy::ExposeSecret as _;

use super::backup::publish;
use crate::{
    bucket::{store::settings, wire},
    harness::{
        Backend, Server,
        backup::{Place, backup_settings, damage},
        product_name,
    },
};

/// Runs rclone with the gateway as its only remote, `gw:`.
async fn rclone(arguments: &[&str]) -> Output {
    let S3Settings { endpoint, access_key_id, secret_access_key, region, .. } = settings();
    let mut rclone = tokio::process::Command::new("rclone");
    rclone
        .env_clear()
        .env("PATH", std::env::var_os("PATH").expect("set"))
        .env("HOME", std::env::temp_dir())
        .env("RCLONE_CONFIG", "/dev/null")
        .env("RCLONE_CONFIG_GW_TYPE", "s3")
        .env("RCLONE_CONFIG_GW_PROVIDER", "Ceph")
        .env("RCLONE_CONFIG_GW_ENDPOINT", endpoint)
        .env("RCLONE_CONFIG_GW_REGION", region)
        .env("RCLONE_CONFIG_GW_ACL", "private")
        .env("RCLONE_CONFIG_GW_ACCESS_KEY_ID", access_key_id)
        .env("RCLONE_CONFIG_GW_SECRET_ACCESS_KEY", secret_access_key.expose_secret())
        .args(["-v", "--stats", "0"])
        .args(arguments);
    rclone.output().await.expect("rclone is installed by tests/run")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_our_sync_rclone_has_nothing_to_do() {
    let gateway = settings().endpoint.trim_start_matches("http://").to_owned();
    let other = wire::Server::start(gateway, |_| wire::Answer::PassOn).await;
    for place in [Place::same_store(), Place::at(&other.endpoint())] {
        let backend = Backend::production().await;
        let server = Server::start(&backend).await;
        let product = product_name();
        publish(&server, &product).await;
        place.command(&backend, &server, &["sync"]).await.expect(0);
        let from = format!("gw:{}/{product}", settings().name);
        let to = format!("gw:{}/{product}", backup_settings().name);

        let check = rclone(&["check", "--download", &from, &to]).await;
        let told = text(&check);
        assert!(check.status.success() && told.contains("0 differences found"), "{told}");
        assert!(told.contains("3 matching files"), "{told}");
        for extra in [&[][..], &["--checksum"]] {
            let sync = rclone(&[&["sync", "--dry-run", &from, &to], extra].concat()).await;
            let told = text(&sync);
            assert!(sync.status.success(), "{told}");
            // Every step that a dry run skips is told so.
            assert!(!told.contains("Skipped") && told.contains("nothing to transfer"), "{told}");
        }
        // It would see a difference.
        damage(&backup_settings(), &format!("{product}/1.0.0/app.bin")).await;
        let check = rclone(&["check", "--download", &from, &to]).await;
        assert!(!check.status.success() && text(&check).contains("1 differences found"), "{}", text(&check));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_sync_of_rclone_ours_has_nothing_to_copy() {
    let (backend, place) = (Backend::production().await, Place::same_store());
    let server = Server::start(&backend).await;
    let product = product_name();
    let images = publish(&server, &product).await;
    let from = format!("gw:{}/{product}", settings().name);
    let to = format!("gw:{}/{product}", backup_settings().name);
    let sync = rclone(&["sync", &from, &to]).await;
    assert!(sync.status.success(), "{}", text(&sync));
    let told = place.command(&backend, &server, &["sync", "--json"]).await.expect(0).json();
    assert_eq!((&told["copied"], &told["adopted"]), (&0.into(), &3.into()), "{told}");
    for (key, bytes) in &images {
        place.holds(&backend, &server, key, bytes).await;
    }
    let told = place.command(&backend, &server, &["sync"]).await.expect(0).stdout;
    assert!(told.contains("nothing to do"), "{told}");
}
