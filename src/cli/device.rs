//! `firmament device`: what devices of private products are known by.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::{
    client::Client,
    connection::ClientOptions,
    output::{Failure, Report, Terminal},
};
use crate::{
    api::{DeviceCredentialView, DeviceCredentialsBody, DeviceCredentialsView},
    domain::{
        credential::{SECRET_LENGTH, Secret, credential},
        name::ProductName,
    },
};

/// How many devices the server is asked for at once: their list must fit its largest body.
const AT_ONCE: usize = 400;

/// The commands of `firmament device`.
#[derive(Debug, Subcommand)]
pub enum DeviceCommand {
    /// Make the credentials that devices of a private product show in their checks
    Credential(CredentialArguments),
}

/// The arguments of `device credential`.
#[derive(Debug, Args)]
pub struct CredentialArguments {
    /// The product
    #[arg(long)]
    product: ProductName,
    /// A device as it says it in its checks, once for each; `-` = one per line from standard input
    #[arg(long, value_name = "ID", required = true)]
    device: Vec<String>,
    /// Make them here, from the device secret in this file (64 hex digits), and ask no server
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How to reach the server.
    #[command(flatten)]
    connection: ClientOptions,
}

impl DeviceCommand {
    /// The options that all of them have.
    pub fn connection(&self) -> &ClientOptions {
        match self {
            Self::Credential(arguments) => &arguments.connection,
        }
    }
}

/// Runs one of them.
///
/// # Errors
/// When the server refuses or does not answer, or a file is unusable.
pub fn run(command: &DeviceCommand, _: &Terminal) -> Result<Report, Failure> {
    let DeviceCommand::Credential(arguments) = command;
    let devices = devices(&arguments.device)?;
    let product = &arguments.product;
    let credentials = match &arguments.secret_file {
        Some(file) => {
            let secret = secret(file)?;
            let made = |device: String| DeviceCredentialView {
                credential: credential(&secret, product.as_str(), &device),
                device,
            };
            devices.into_iter().map(made).collect()
        }
        None => ask(arguments, &devices)?,
    };
    let text = match credentials.as_slice() {
        [only] => only.credential.clone(),
        all => {
            let line = |each: &DeviceCredentialView| format!("{}\t{}", each.device, each.credential);
            all.iter().map(line).collect::<Vec<_>>().join("\n")
        }
    };
    Ok(Report::done(text, json!({ "product": product.to_string(), "credentials": credentials })))
}

fn ask(arguments: &CredentialArguments, devices: &[String]) -> Result<Vec<DeviceCredentialView>, Failure> {
    let client = Client::publisher(&arguments.connection)?;
    let path = format!("/v1/products/{}/device-credentials", arguments.product);
    let mut credentials = Vec::with_capacity(devices.len());
    for devices in devices.chunks(AT_ONCE) {
        let answer = client.post(&path, &DeviceCredentialsBody { devices: devices.to_vec() })?;
        let view: DeviceCredentialsView = answer.read()?;
        credentials.extend(view.credentials);
    }
    Ok(credentials)
}

fn devices(given: &[String]) -> Result<Vec<String>, Failure> {
    let mut devices = Vec::new();
    for device in given {
        if device == "-" {
            let text = std::io::read_to_string(std::io::stdin())
                .map_err(|error| Failure::yours(format!("cannot read the devices: {error}")))?;
            devices.extend(text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned));
        } else {
            devices.push(device.clone());
        }
    }
    if devices.is_empty() {
        return Err(Failure::yours("there is no device in standard input: write one per line"));
    }
    Ok(devices)
}

/// A secret as `product device-secret` printed it.
///
/// # Errors
/// When the file cannot be read, or holds none.
pub(super) fn secret(file: &PathBuf) -> Result<Secret, Failure> {
    let shown = file.display();
    let text = std::fs::read_to_string(file)
        .map_err(|error| Failure::yours(format!("cannot read the secret in {shown}: {error}")))?;
    let mut secret = [0; SECRET_LENGTH];
    hex::decode_to_slice(text.trim(), &mut secret)
        .map_err(|_| Failure::yours(format!("{shown} holds no device secret: it must have 64 hex digits")))?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::replay::{Replay, Turn};

    fn run_with(server: &Replay, device: &[&str], secret_file: Option<PathBuf>) -> Result<Report, Failure> {
        let command = DeviceCommand::Credential(CredentialArguments {
            product: ProductName::parse("thermo-x").expect("a name"),
            device: device.iter().map(|device| (*device).to_owned()).collect(),
            secret_file,
            connection: server.options(),
        });
        run(&command, &Terminal::default())
    }

    #[test]
    fn the_server_is_asked() {
        let answer = r#"{"product":"thermo-x","credentials":[{"device":"a","credential":"x"},{"device":"b","credential":"y"}]}"#;
        let server = Replay::start(vec![Turn::json(200, answer)]);
        let report = run_with(&server, &["a", "b"], None).expect("200");
        assert_eq!(report.text, "a\tx\nb\ty");
        let request = &server.requests()[0];
        assert_eq!(request.line, "POST /v1/products/thermo-x/device-credentials HTTP/1.1");
        let body: serde_json::Value = serde_json::from_slice(&request.body).expect("JSON");
        assert_eq!(body, json!({ "devices": ["a", "b"] }));
    }

    #[test]
    fn or_it_is_made_here() {
        let directory = tempfile::tempdir().expect("a directory for the test");
        let file = directory.path().join("secret");
        std::fs::write(&file, "07".repeat(32) + "\n").expect("writable");
        let server = Replay::start(Vec::new());
        let report = run_with(&server, &["SN-1"], Some(file.clone())).expect("made");
        assert_eq!(report.text, credential(&[7; 32], "thermo-x", "SN-1"));
        assert_eq!(report.document["credentials"][0]["device"], "SN-1");
        assert!(server.requests().is_empty());
        std::fs::write(&file, "07").expect("writable");
        let failure = run_with(&server, &["SN-1"], Some(file)).expect_err("too short");
        assert!(failure.message.contains("64 hex digits") && failure.code == 1);
    }
}
