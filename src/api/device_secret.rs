//! What devices of private products are known by.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A new device secret; `{}` is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DeviceSecretBody {
    /// One that you have kept, in hex, 64 digits; absent = a random one is made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
}

/// A product's device secrets. The secret itself is shown once, to whoever made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceSecretView {
    /// The product.
    pub product: String,
    /// The one that credentials are made with from now on, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<String>,
    /// How many count: 2 while they are changed.
    pub secrets: usize,
}

/// The devices that credentials are asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeviceCredentialsBody {
    /// As they say it in their checks, each of at most 128 bytes.
    #[schema(example = json!(["SN-0001", "SN-0002"]))]
    pub devices: Vec<String>,
}

/// What devices show.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceCredentialsView {
    /// The product.
    pub product: String,
    /// In the order in which they were asked for.
    pub credentials: Vec<DeviceCredentialView>,
}

/// What one device shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeviceCredentialView {
    /// The device.
    pub device: String,
    /// For `Authorization: Bearer CREDENTIAL`, together with `device=…`.
    pub credential: String,
}
