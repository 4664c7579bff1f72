//! A bucket of either kind for one test, under a product name of its own.

use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use firmament::{
    bucket::{
        Bucket, DirectoryBucket, ObjectFacts, ObjectKey, ObjectReader, PartBudget, S3Bucket, S3Limits,
        S3Settings, StoredObject, Upload,
    },
    domain::{Digests, FileName, Hardware, ProductName, Version},
    error::Result,
};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest as _, Sha256};
use tempfile::TempDir;
use tokio::io::AsyncReadExt as _;

pub(super) struct Store {
    pub(super) bucket: Bucket,
    pub(super) product: ProductName,
    reader: Option<ObjectReader>,
    _directory: Option<TempDir>,
}

impl Store {
    pub(super) async fn directory() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let bucket = DirectoryBucket::open(directory.path()).await.expect("a new directory");
        Self {
            reader: Some(bucket.reader()),
            bucket: Bucket::Directory(bucket),
            product: product(),
            _directory: Some(directory),
        }
    }

    pub(super) fn s3() -> Self {
        Self::s3_with(&settings(), S3Limits::default(), &PartBudget::default())
    }

    pub(super) fn s3_with(settings: &S3Settings, limits: S3Limits, budget: &PartBudget) -> Self {
        let bucket = S3Bucket::new(settings, limits, budget).expect("valid settings");
        Self { bucket: Bucket::S3(bucket), product: product(), reader: None, _directory: None }
    }

    pub(super) fn is_s3(&self) -> bool {
        self.reader.is_none()
    }

    pub(super) fn key(&self, filename: &str) -> ObjectKey {
        ObjectKey::image(
            &self.product,
            &Version::parse("1.4.0-rc.1").expect("valid"),
            &FileName::parse(filename).expect("valid"),
        )
    }

    pub(super) fn facts(&self, filename: &str) -> ObjectFacts {
        ObjectFacts {
            product: self.product.clone(),
            version: Version::parse("1.4.0-rc.1").expect("valid"),
            filename: FileName::parse(filename).expect("valid"),
            hardware: ["rev-a", "revB"].map(|name| Hardware::parse(name).expect("valid")).into(),
            created_at: Utc::now(),
        }
    }

    /// Begins an upload and writes `bytes` in pieces that fit no part.
    pub(super) async fn write(&self, filename: &str, bytes: &[u8]) -> Upload {
        let mut upload = self.bucket.begin(&self.key(filename), &self.facts(filename)).await.expect("begun");
        for piece in bytes.chunks(300_007) {
            upload.write(Bytes::copy_from_slice(piece)).await.expect("written");
        }
        upload
    }

    pub(super) async fn store(&self, filename: &str, bytes: &[u8]) -> Result<StoredObject> {
        self.write(filename, bytes).await.finish(bytes.len() as u64, &digests(bytes), &|| Ok(())).await
    }

    /// The bytes of an object, read as others would.
    pub(super) async fn read(&self, key: &ObjectKey) -> Vec<u8> {
        match &self.reader {
            Some(reader) => {
                let (object, mut file) = reader.open(key.as_str()).await.expect("readable").expect("there");
                assert_eq!(object.content_type, "application/octet-stream");
                assert_eq!(object.cache_control, key.cache_control());
                assert_eq!(object.content_disposition, key.content_disposition());
                let mut bytes = Vec::new();
                file.read_to_end(&mut bytes).await.expect("readable");
                assert_eq!(object.size, bytes.len() as u64);
                assert_eq!(object.etag, hex::encode(Sha256::digest(&bytes)));
                bytes
            }
            None => {
                let settings = settings();
                let answer =
                    plain_client(&settings).get_object().bucket(settings.name).key(key.as_str()).send();
                let body = answer.await.expect("there").body.collect().await;
                body.expect("readable").to_vec()
            }
        }
    }

    pub(super) async fn unfinished(&self, key: &ObjectKey) -> usize {
        self.bucket.unfinished_uploads(Some(key.as_str())).await.expect("listed").len()
    }

    /// Waits until no unfinished upload is left for the key.
    pub(super) async fn becomes_clean(&self, key: &ObjectKey) {
        for _ in 0..200 {
            if self.unfinished(key).await == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("an upload of {key} stays");
    }
}

/// Bytes that repeat at no power of two.
pub(super) fn content(size: usize) -> Vec<u8> {
    (0..size).map(|at| (at % 251) as u8).collect()
}

pub(super) fn digests(bytes: &[u8]) -> Digests {
    Digests {
        sha256: Sha256::digest(bytes).into(),
        sha1: Sha1::digest(bytes).into(),
        md5: Md5::digest(bytes).into(),
    }
}

fn product() -> ProductName {
    ProductName::parse(&format!("t-{}", uuid::Uuid::now_v7())).expect("valid")
}

/// The gateway that `tests/run` has started.
pub(crate) fn settings() -> S3Settings {
    let get = |name: &str| {
        let name = format!("FIRMAMENT_TEST_S3_{name}");
        std::env::var(&name).unwrap_or_else(|_| panic!("{name} is not set: run the tests with `tests/run`"))
    };
    S3Settings {
        endpoint: get("ENDPOINT"),
        region: get("REGION"),
        name: get("BUCKET"),
        access_key_id: get("ACCESS_KEY_ID"),
        secret_access_key: get("SECRET_ACCESS_KEY").into(),
        path_style: true,
    }
}

/// A client that shares nothing with ours, to look at objects as others do.
pub(crate) fn plain_client(settings: &S3Settings) -> aws_sdk_s3::Client {
    use aws_sdk_s3::config::{BehaviorVersion, Credentials, Region};
    use secrecy::ExposeSecret as _;

    let secret = settings.secret_access_key.expose_secret();
    let config = aws_sdk_s3::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .endpoint_url(settings.endpoint.clone())
        .region(Region::new(settings.region.clone()))
        .credentials_provider(Credentials::new(&settings.access_key_id, secret, None, None, "test"))
        .force_path_style(true)
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_s3::Client::from_conf(config)
}
