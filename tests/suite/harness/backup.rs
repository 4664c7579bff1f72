//! A place for a backup, and a look into bucket and backup that shares nothing with our own code.

use std::path::{Path, PathBuf};

use aws_sdk_s3::operation::head_object::HeadObjectOutput;
use bytes::Bytes;
use firmament::bucket::S3Settings;
use secrecy::ExposeSecret as _;
use serde_json::Value;

use super::{
    Backend, Server,
    command::{Outcome, run},
    eventually,
    server::Builder,
};
use crate::bucket::store::{plain_client, settings};

/// Where a backup is kept.
#[derive(Clone)]
pub struct Place {
    environment: Vec<(String, String)>,
    directory: Option<PathBuf>,
}

/// The backup bucket on the gateway.
pub fn backup_settings() -> S3Settings {
    let name = std::env::var("FIRMAMENT_TEST_S3_BACKUP_BUCKET");
    S3Settings { name: name.expect("set by tests/run"), ..settings() }
}

impl Place {
    /// The backup bucket of the same store.
    pub fn same_store() -> Self {
        Self::at(&backup_settings().endpoint)
    }

    /// The backup bucket, reached at another endpoint, so that it is taken for another store.
    pub fn at(endpoint: &str) -> Self {
        let settings = backup_settings();
        let environment = [
            ("ENDPOINT", endpoint),
            ("REGION", &settings.region),
            ("NAME", &settings.name),
            ("ACCESS_KEY_ID", &settings.access_key_id),
            ("SECRET_ACCESS_KEY", settings.secret_access_key.expose_secret()),
        ];
        let environment = environment.map(|(key, value)| (format!("BACKUP__{key}"), value.to_owned()));
        Self { environment: environment.into(), directory: None }
    }

    /// A directory.
    pub fn directory(path: &Path) -> Self {
        let environment = vec![("BACKUP__DIRECTORY".to_owned(), path.display().to_string())];
        Self { environment, directory: Some(path.to_owned()) }
    }

    /// One more setting, such as `BACKUP__HOLD`.
    pub fn set(mut self, key: &str, value: &str) -> Self {
        self.environment.push((key.to_owned(), value.to_owned()));
        self
    }

    /// A server that keeps it.
    pub fn on(&self, builder: Builder) -> Builder {
        self.environment.iter().fold(builder, |builder, (key, value)| builder.set(key, value))
    }

    /// The environment of a command beside the server.
    pub fn environment(&self, backend: &Backend) -> Vec<(String, String)> {
        let own = self.environment.iter().map(|(key, value)| (format!("FIRMAMENT__{key}"), value.clone()));
        backend.environment().into_iter().chain(own).collect()
    }

    /// Runs `firmament backup …` beside the server, on the stores themselves.
    pub async fn command(&self, backend: &Backend, server: &Server, arguments: &[&str]) -> Outcome {
        let home = server.home().path();
        std::fs::write(home.join("beside.toml"), "").expect("writable");
        let all: Vec<&str> =
            ["backup"].iter().chain(arguments).chain(&["--config", "beside.toml"]).copied().collect();
        run(home, &all, &self.environment(backend)).await
    }

    /// Insists that the backup's object is the bucket's: bytes, headers, metadata, entity tag.
    pub async fn holds(&self, backend: &Backend, server: &Server, key: &str, bytes: &Bytes) {
        let found = self.bytes(key).await;
        assert!(found.as_ref() == Some(bytes), "{key} has other bytes in the backup, or none");
        match &self.directory {
            Some(directory) => {
                let file = std::fs::read(directory.join("metadata").join(format!("{key}.json")));
                let metadata: Value = serde_json::from_slice(&file.expect("there")).expect("JSON");
                let bucket = server.bucket().await;
                let tag = bucket.head(key).await.expect("asked").expect("there").etag;
                assert_eq!(metadata["etag"], tag, "{key}");
            }
            None if backend.is_production() => {
                let (ours, theirs) = (head(&settings(), key).await, head(&backup_settings(), key).await);
                let (ours, theirs) = (ours.expect("in the bucket"), theirs.expect("in the backup"));
                let told = |of: &HeadObjectOutput| {
                    let texts = [&of.e_tag, &of.content_type, &of.cache_control, &of.content_disposition];
                    (texts.map(Clone::clone), of.metadata.clone(), of.content_length)
                };
                assert_eq!(told(&ours), told(&theirs), "{key}");
                assert_eq!(theirs.cache_control(), Some("public, max-age=31536000, immutable"));
                assert!(theirs.metadata().is_some_and(|metadata| metadata.contains_key("md5chksum")));
            }
            None => {}
        }
    }

    /// The bytes of the backup's object.
    pub async fn bytes(&self, key: &str) -> Option<Bytes> {
        match &self.directory {
            Some(directory) => std::fs::read(directory.join("objects").join(key)).ok().map(Bytes::from),
            None => get(&backup_settings(), key).await,
        }
    }
}

/// An object's description.
pub async fn head(settings: &S3Settings, key: &str) -> Option<HeadObjectOutput> {
    plain_client(settings).head_object().bucket(&settings.name).key(key).send().await.ok()
}

/// An object's bytes.
pub async fn get(settings: &S3Settings, key: &str) -> Option<Bytes> {
    let answer = plain_client(settings).get_object().bucket(&settings.name).key(key).send().await.ok()?;
    Some(answer.body.collect().await.expect("readable").into_bytes())
}

/// Removes an object behind our back.
pub async fn remove(settings: &S3Settings, key: &str) {
    let removed = plain_client(settings).delete_object().bucket(&settings.name).key(key).send().await;
    removed.expect("removed");
}

/// Changes an object's bytes behind our back, and nothing else of it.
pub async fn damage(settings: &S3Settings, key: &str) {
    let mut bytes = get(settings, key).await.expect("there").to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    replace(settings, key, &bytes).await;
}

/// Gives an object other bytes, with what is there of metadata.
pub async fn replace(settings: &S3Settings, key: &str, bytes: &[u8]) {
    let about = head(settings, key).await.expect("there");
    let put = plain_client(settings).put_object().bucket(&settings.name).key(key);
    put.set_metadata(about.metadata)
        .set_content_type(about.content_type)
        .set_cache_control(about.cache_control)
        .set_content_disposition(about.content_disposition)
        .body(bytes.to_vec().into())
        .send()
        .await
        .expect("put");
}

/// What the server says of its backup.
pub async fn status(server: &Server) -> Value {
    server.publisher().get("/v1/backup").await.expect(200).json()
}

/// Waits until the backup lacks nothing, and everything in it has been read.
pub async fn complete(server: &Server) {
    eventually("the backup is complete and read", async || {
        let status = status(server).await;
        (status["lag"]["objects"] == 0 && status["scrub"]["unread"] == 0 && status["damaged_in_bucket"] == 0)
            .then_some(())
    })
    .await;
}
