//! The bucket as a file system: Debian's s3fs and `rclone mount` on the real gateway show what was published.

use std::{
    collections::BTreeMap,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use secrecy::ExposeSecret as _;

use crate::harness::{Backend, Server, content, eventually, product_name};

/// A mount that ends with the test.
struct Mount(tempfile::TempDir);

impl Mount {
    fn at() -> Self {
        assert!(
            Path::new("/dev/fuse").exists(),
            "/dev/fuse is missing: this test mounts the bucket. Type: sudo modprobe fuse (in a container: start it with \
             --device /dev/fuse --cap-add SYS_ADMIN)"
        );
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        // A mount that never came about has nothing to end.
        for program in ["fusermount3", "fusermount"] {
            let ended = Command::new(program).args(["-u", "-z"]).arg(self.path()).output();
            if ended.is_ok_and(|output| output.status.success()) {
                return;
            }
        }
    }
}

/// A file that was published.
struct Published {
    bytes: Bytes,
    created_at: DateTime<Utc>,
}

/// Publishes files of all kinds; by their paths.
async fn publish(server: &Server) -> BTreeMap<PathBuf, Published> {
    let publisher = server.publisher();
    let mut published = BTreeMap::new();
    let products = [product_name(), format!("{}-b.c_d", product_name())];
    for (seed, (product, version, filename, size)) in [
        (&products[0], "1.0.0", "app.bin", 70_000),
        (&products[0], "1.0.0-rc.1", "Thermo_X.1-2.bin", 1),
        // More than one part, and not a whole number of them.
        (&products[0], "2.0.0", "large.img", (17 << 20) + 12_345),
        (&products[0], "2.0.0", "small.img", 4096),
        (&products[1], "0.0.1", "a", 8 << 20),
    ]
    .into_iter()
    .enumerate()
    {
        if publisher.get(&format!("/v1/products/{product}")).await.status == 404 {
            publisher.create(product).await;
        }
        let bytes = content(size, 900 + seed as u64);
        let upload = publisher.upload(product, version).filename(filename).hardware(&format!("h{seed}"));
        let image = upload.send(bytes.clone()).await.expect(201).json();
        let created_at = image["created_at"].as_str().expect("a time").parse().expect("a time");
        published.insert([product, version, filename].iter().collect(), Published { bytes, created_at });
    }
    published
}

/// All files below, by their paths; what begins with a dot is not for people.
fn files(base: &Path, below: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(base.join(below)).expect("the mount can be listed") {
        let entry = entry.expect("the mount can be listed");
        let path = below.join(entry.file_name());
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        if entry.file_type().expect("the mount knows").is_dir() {
            files(base, &path, found);
        } else {
            found.push(path);
        }
    }
}

/// Insists that the mount shows what was published, and nothing else.
fn compare(mount: &Path, published: &BTreeMap<PathBuf, Published>) {
    let mut found = Vec::new();
    files(mount, Path::new(""), &mut found);
    found.sort();
    assert_eq!(found, published.keys().cloned().collect::<Vec<_>>());
    for (path, Published { bytes, created_at }) in published {
        let shown = path.display();
        let about = std::fs::metadata(mount.join(path)).expect("it is there");
        assert_eq!(about.len(), bytes.len() as u64, "{shown}");
        assert_eq!(about.permissions().mode() & 0o7777, 0o644, "{shown}");
        let micros = about.mtime() * 1_000_000 + about.mtime_nsec() / 1000;
        assert_eq!(micros, created_at.timestamp_micros(), "{shown}");
        let read = std::fs::read(mount.join(path)).expect("it can be read");
        assert!(read == bytes[..], "{shown} has other bytes");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3fs_shows_names_sizes_modes_times_and_bytes() {
    let (mount, backend) = (Mount::at(), Backend::with_own_bucket().await);
    let server = Server::start(&backend).await;
    let published = publish(&server).await;
    let s3 = backend.stores().s3();
    let secrets = tempfile::tempdir().expect("a temporary directory");
    let passwords = secrets.path().join("passwd");
    let text = format!("{}:{}\n", s3.access_key_id, s3.secret_access_key.expose_secret());
    std::fs::write(&passwords, text).expect("written");
    std::fs::set_permissions(&passwords, std::fs::Permissions::from_mode(0o600)).expect("changed");
    let options =
        format!("passwd_file={},url={},use_path_request_style,ro", passwords.display(), s3.endpoint);
    let mut s3fs = Command::new("s3fs");
    s3fs.arg(&s3.name).arg(mount.path()).args(["-o", &options]);
    let output = tokio::task::spawn_blocking(move || s3fs.output()).await.expect("no panic");
    let output = output.expect("s3fs is missing: sudo apt-get install -y s3fs");
    assert!(output.status.success(), "s3fs: {}", String::from_utf8_lossy(&output.stderr));
    let path = mount.path().to_owned();
    eventually("the mount is there", async || {
        std::fs::read_dir(&path).is_ok_and(|entries| entries.count() >= 2).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || compare(&path, &published))
        .await
        .expect("the mount shows what was published");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rclone_mount_shows_names_sizes_modes_times_and_bytes() {
    let (mount, backend) = (Mount::at(), Backend::with_own_bucket().await);
    let server = Server::start(&backend).await;
    let published = publish(&server).await;
    let s3 = backend.stores().s3();
    let mut rclone = Command::new("rclone");
    rclone.args(["mount", "--read-only", "--daemon", "--config", "/dev/null"]);
    rclone.arg(format!("fw:{}", s3.name)).arg(mount.path());
    for (name, value) in [
        ("TYPE", "s3"),
        ("PROVIDER", "Ceph"),
        ("ENDPOINT", s3.endpoint.as_str()),
        ("ACCESS_KEY_ID", s3.access_key_id.as_str()),
        ("SECRET_ACCESS_KEY", s3.secret_access_key.expose_secret()),
    ] {
        rclone.env(format!("RCLONE_CONFIG_FW_{name}"), value);
    }
    // With it set, this rclone cannot start.
    rclone.env_remove("AWS_CA_BUNDLE");
    let output = tokio::task::spawn_blocking(move || rclone.output()).await.expect("no panic");
    let output = output.expect("rclone is missing: sudo apt-get install -y rclone fuse3");
    assert!(output.status.success(), "rclone: {}", String::from_utf8_lossy(&output.stderr));
    let path = mount.path().to_owned();
    eventually("the mount is there", async || {
        std::fs::read_dir(&path).is_ok_and(|entries| entries.count() >= 2).then_some(())
    })
    .await;
    tokio::task::spawn_blocking(move || compare(&path, &published))
        .await
        .expect("the mount shows what was published");
}
