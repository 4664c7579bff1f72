//! A fresh PostgreSQL database for each test.

use std::{env, str::FromStr};

use secrecy::SecretString;
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use uuid::Uuid;

use firmament::catalogue::{Catalogue, PostgresCatalogue};

/// Enough for the tasks of one test, few enough for many tests at once.
const CONNECTIONS: u32 = 8;

/// An empty database of its own. [`Database::drop`] removes it; after a failed test it stays, to be looked at.
pub struct Database {
    server: PgConnectOptions,
    name: String,
}

impl Database {
    /// Creates a database on the server that `FIRMAMENT_TEST_POSTGRES` names.
    pub async fn create() -> Self {
        let url = env::var("FIRMAMENT_TEST_POSTGRES")
            .expect("FIRMAMENT_TEST_POSTGRES is not set: run tests/run, which starts a PostgreSQL server");
        let server = PgConnectOptions::from_str(&url)
            .expect("FIRMAMENT_TEST_POSTGRES is a PostgreSQL URL")
            .ssl_mode(PgSslMode::Disable);
        let database = Self { server, name: format!("firmament_test_{}", Uuid::now_v7().simple()) };
        database.execute_on_server(format!("create database {}", database.name)).await;
        database
    }

    /// The database's URL.
    pub fn url(&self) -> SecretString {
        self.url_at(self.server.get_host(), self.server.get_port())
    }

    /// The database's URL by way of another address, such as that of a proxy.
    pub fn url_at(&self, host: &str, port: u16) -> SecretString {
        let user = self.server.get_username();
        format!("postgres://{user}@{host}:{port}/{}?sslmode=disable", self.name).into()
    }

    /// The server's address.
    pub fn address(&self) -> (String, u16) {
        (self.server.get_host().to_owned(), self.server.get_port())
    }

    /// A catalogue on it whose schema is up to date.
    pub async fn catalogue(&self) -> PostgresCatalogue {
        let catalogue = self.unmigrated();
        catalogue.migrate().await.expect("an empty database can be migrated");
        catalogue
    }

    /// A catalogue on it as it is.
    pub fn unmigrated(&self) -> PostgresCatalogue {
        PostgresCatalogue::connect(&self.url(), CONNECTIONS).expect("the URL is valid")
    }

    /// A plain connection to it.
    pub async fn connection(&self) -> PgConnection {
        self.server.clone().database(&self.name).connect().await.expect("the test server answers")
    }

    /// Removes the database, whoever is still connected.
    pub async fn drop(self) {
        self.execute_on_server(format!("drop database {} with (force)", self.name)).await;
    }

    async fn execute_on_server(&self, statement: String) {
        let mut connection = self.server.connect().await.expect("the test server answers");
        sqlx::query(AssertSqlSafe(statement)).execute(&mut connection).await.expect("the role may do this");
        connection.close().await.expect("the test server answers");
    }
}
