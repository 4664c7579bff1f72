//! Where a server under test keeps things, and a look into it that does not go through the server.

use std::{path::Path, sync::Arc};

use firmament::{
    bucket::{Bucket, DirectoryBucket, PartBudget, S3Bucket, S3Limits, S3Settings},
    catalogue::{Catalogue, SqliteCatalogue},
};
use secrecy::ExposeSecret as _;

use super::proxy::Proxy;
use crate::{bucket::store::settings, postgres::Database};

/// What no log line may show. The test server trusts every connection, so the password only has to be there.
pub const DATABASE_PASSWORD: &str = "database-password-4711";

/// The two sets of stores.
#[derive(Clone)]
pub enum Backend {
    /// SQLite and a directory, in the data directory.
    Embedded,
    /// PostgreSQL and S3.
    Production(Arc<Stores>),
}

/// A database of its own, and the test bucket.
pub struct Stores {
    database: Option<Database>,
    s3: S3Settings,
    proxies: Option<(Proxy, Proxy)>,
}

/// What a product has in the stores.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Traces {
    /// The keys of its objects.
    pub objects: Vec<String>,
    /// Its unfinished uploads.
    pub unfinished: usize,
    /// Its reservations.
    pub reservations: usize,
    /// Its images in the catalogue.
    pub images: usize,
}

impl Traces {
    /// Of a product with these objects, one row for each, and nothing left over.
    pub fn just(objects: &[String]) -> Self {
        Self { objects: objects.to_vec(), images: objects.len(), ..Self::default() }
    }
}

impl Backend {
    /// A fresh database, and the test bucket.
    pub async fn production() -> Self {
        let stores = Stores { database: Some(Database::create().await), s3: settings(), proxies: None };
        Self::Production(Arc::new(stores))
    }

    /// The same, with a bucket of its own: for what looks at a bucket as a whole.
    pub async fn with_own_bucket() -> Self {
        let mut s3 = settings();
        s3.name = format!("own-{}", uuid::Uuid::now_v7().simple());
        create_bucket(&s3).await;
        let stores = Stores { database: Some(Database::create().await), s3, proxies: None };
        Self::Production(Arc::new(stores))
    }

    /// The same bucket, and a new, empty database.
    pub async fn after_losing_the_database(&self) -> Self {
        let s3 = self.stores().s3.clone();
        let stores = Stores { database: Some(Database::create().await), s3, proxies: None };
        Self::Production(Arc::new(stores))
    }

    /// The same, each behind a proxy.
    pub async fn behind_proxies() -> Self {
        let (database, s3) = (Database::create().await, settings());
        let (host, port) = database.address();
        let postgres = Proxy::start(&format!("{host}:{port}")).await;
        let (_, address) = s3.endpoint.split_once("://").expect("the endpoint is a URL");
        let bucket = Proxy::start(address).await;
        let proxies = Some((postgres, bucket));
        Self::Production(Arc::new(Stores { database: Some(database), s3, proxies }))
    }

    /// Whether it is the production set.
    pub fn is_production(&self) -> bool {
        matches!(self, Self::Production(_))
    }

    /// The production stores.
    pub fn stores(&self) -> &Stores {
        match self {
            Self::Production(stores) => stores,
            Self::Embedded => panic!("the embedded default has no stores of its own"),
        }
    }

    /// The settings that lead to it.
    pub fn environment(&self) -> Vec<(String, String)> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Production(stores) => stores.environment(),
        }
    }

    /// What no log line may show.
    pub fn secrets(&self) -> Vec<String> {
        match self {
            Self::Embedded => Vec::new(),
            Self::Production(stores) => {
                vec![DATABASE_PASSWORD.into(), stores.s3.secret_access_key.expose_secret().into()]
            }
        }
    }

    /// The catalogue, past every proxy.
    pub async fn catalogue(&self, data_dir: &Path) -> Arc<dyn Catalogue> {
        match self {
            Self::Embedded => {
                let path = data_dir.join("catalogue.sqlite");
                Arc::new(SqliteCatalogue::open(&path).await.expect("the catalogue opens"))
            }
            Self::Production(stores) => Arc::new(stores.database().unmigrated()),
        }
    }

    /// The bucket, past every proxy.
    pub async fn bucket(&self, data_dir: &Path) -> Bucket {
        match self {
            Self::Embedded => {
                let bucket = DirectoryBucket::open(&data_dir.join("bucket")).await;
                Bucket::Directory(bucket.expect("the bucket opens"))
            }
            Self::Production(stores) => {
                let bucket = S3Bucket::new(&stores.s3, S3Limits::default(), &PartBudget::default());
                Bucket::S3(bucket.expect("the settings are valid"))
            }
        }
    }

    /// What a product has in the stores now.
    pub async fn traces(&self, data_dir: &Path, product: &str) -> Traces {
        let catalogue = self.catalogue(data_dir).await;
        let bucket = self.bucket(data_dir).await;
        let prefix = format!("{product}/");
        let listed = bucket.list(Some(product)).await.expect("the bucket lists");
        let unfinished = bucket.unfinished_uploads(None).await.expect("the bucket lists");
        let reservations = catalogue.reservations().await.expect("the catalogue answers");
        let name = firmament::domain::ProductName::parse(product).expect("a valid name");
        let known = catalogue.product(&name).await.expect("the catalogue answers");
        Traces {
            objects: listed
                .into_iter()
                .map(|object| object.key)
                .filter(|key| key.starts_with(&prefix))
                .collect(),
            unfinished: unfinished.iter().filter(|upload| upload.key.starts_with(&prefix)).count(),
            reservations: reservations.iter().filter(|(reservation, _)| reservation.product == name).count(),
            images: known.map_or(0, |state| state.releases.iter().map(|release| release.images.len()).sum()),
        }
    }
}

impl Stores {
    /// The database.
    pub fn database(&self) -> &Database {
        self.database.as_ref().expect("there until the end")
    }

    /// The bucket's settings, past every proxy.
    pub fn s3(&self) -> &S3Settings {
        &self.s3
    }

    /// The proxy before the database.
    pub fn postgres_proxy(&self) -> &Proxy {
        &self.proxies.as_ref().expect("made by behind_proxies").0
    }

    /// The proxy before the bucket.
    pub fn s3_proxy(&self) -> &Proxy {
        &self.proxies.as_ref().expect("made by behind_proxies").1
    }

    /// The database's URL, with a password, through the proxy if there is one.
    pub fn database_url(&self) -> String {
        let url = match &self.proxies {
            Some((postgres, _)) => self.database().url_at("127.0.0.1", postgres.port()),
            None => self.database().url(),
        };
        url.expose_secret().replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1)
    }

    fn environment(&self) -> Vec<(String, String)> {
        let endpoint = match &self.proxies {
            Some((_, s3)) => format!("http://127.0.0.1:{}", s3.port()),
            None => self.s3.endpoint.clone(),
        };
        [
            ("CATALOGUE__URL", self.database_url()),
            ("CATALOGUE__MAX_CONNECTIONS", "4".to_owned()),
            ("BUCKET__ENDPOINT", endpoint),
            ("BUCKET__REGION", self.s3.region.clone()),
            ("BUCKET__NAME", self.s3.name.clone()),
            ("BUCKET__ACCESS_KEY_ID", self.s3.access_key_id.clone()),
            ("BUCKET__SECRET_ACCESS_KEY", self.s3.secret_access_key.expose_secret().to_owned()),
        ]
        .map(|(key, value)| (format!("FIRMAMENT__{key}"), value))
        .into()
    }
}

/// Makes a bucket, as an operator does, by the tool that every machine has.
pub async fn create_bucket(s3: &S3Settings) {
    let mut curl = tokio::process::Command::new("curl");
    let key = format!("{}:{}", s3.access_key_id, s3.secret_access_key.expose_secret());
    curl.args(["--silent", "--show-error", "--fail", "--request", "PUT", "--user", &key]);
    curl.args(["--aws-sigv4", &format!("aws:amz:{}:s3", s3.region)]);
    // Ceph asks for it, and curl leaves it out.
    curl.args(["--header", "x-amz-content-sha256: UNSIGNED-PAYLOAD"]);
    let made = curl.arg(format!("{}/{}", s3.endpoint, s3.name)).output().await.expect("curl can be run");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

impl Drop for Stores {
    fn drop(&mut self) {
        // After a failed test the database stays, to be looked at.
        if std::thread::panicking() {
            return;
        }
        let Some(database) = self.database.take() else { return };
        let removed = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(database.drop());
        });
        removed.join().expect("the database can be removed");
    }
}
