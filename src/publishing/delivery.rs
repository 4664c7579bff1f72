//! How a product's images reach its devices: whether its settings can be kept, and the secrets that its devices are known
//! by (`domain::credential`).
//!
//! A private product has a secret from the moment on when it becomes private: its links are sealed with it. Between the
//! two changes it has none, and nothing of it is given out; setting its settings once more mends what a crash left so.

use serde_json::json;

use super::{ATTEMPTS, Publishing, too_contended};
use crate::{
    catalogue::{Actor, Audit, Written},
    domain::{
        Action, DeviceSecrets, Product, ProductName, ProductSettings, ProductState,
        credential::{SECRET_LENGTH, Secret},
    },
    error::{Error, Kind, Result},
    version_check::{self, Reason, rule},
};

/// The shortest limit that any URL of an image keeps, in bytes.
const SHORTEST_URL: u16 = 24;

/// A change of a product's secrets.
#[derive(Clone)]
pub enum SecretChange {
    /// The first one, if there is none.
    Ensure,
    /// A new one signs; the one that signed until now still counts. `None` = a random one.
    Rotate(Option<Secret>),
    /// Only the one that signs counts from now on.
    Retire,
}

impl Publishing {
    /// Judges how settings deliver the product's images. Returns what is offered now and could not be used.
    ///
    /// # Errors
    /// `Malformed` for settings that contradict themselves, and for a new product whose images no CDN could tell from the
    /// service's own paths; `Refused` for a private product whose links cannot end.
    pub async fn judge_delivery(
        &self,
        name: &ProductName,
        settings: &ProductSettings,
    ) -> Result<Vec<Reason>> {
        let delivery = &settings.delivery;
        let malformed = |message: &str| Err(Error::new(Kind::Malformed, "malformed", message));
        if delivery.authenticate_devices && !delivery.is_private() {
            return malformed(
                "delivery.authenticate_devices needs delivery.access \"private\": checks of a public product are \
                 answered to anybody",
            );
        }
        if delivery.url.max_length.is_some_and(|length| length < SHORTEST_URL) {
            return malformed("delivery.url.max_length is shorter than any URL: leave it out for no limit");
        }
        let can_sign = self.limits.links.is_none_or(|forms| forms.private.is_some());
        if delivery.is_private() && !can_sign {
            let message = "the CDN's links carry no token, so anybody could load the images of a private product: set \
                           [cdn.token] in the server's settings first, or leave [cdn] out";
            return Err(Error::refused(vec![Reason::new(rule::ACCESS_UNENFORCEABLE, message)]));
        }
        let Some(mut state) = self.catalogue.product(name).await? else {
            if name.is_own_path() {
                tracing::warn!(product = %name, "behind a CDN that has the device listener on the host of the images, \
                    /{name}/… goes to the listener, and none of this product's images can be loaded: choose another name");
            }
            return Ok(Vec::new());
        };
        state.product.settings = settings.clone();
        Ok(version_check::broken_links(&state, self.limits))
    }

    /// Makes sure that a private product has a secret. Returns the product as it is then.
    ///
    /// # Errors
    /// What the catalogue fails with.
    pub async fn ensure_device_secret(&self, product: Product, actor: &Actor) -> Result<Product> {
        if !product.settings.delivery.is_private() || product.device_secrets.count() > 0 {
            return Ok(product);
        }
        Ok(self.change_secrets(&product.name, SecretChange::Ensure, actor).await?.product)
    }

    /// Changes the secrets of a product. Returns the product as it is then.
    ///
    /// # Errors
    /// `NotFound` for the product; `Conflict` for a rotation while another one is under way, or an end of none; or what
    /// the catalogue fails with.
    pub async fn change_secrets(
        &self,
        name: &ProductName,
        change: SecretChange,
        actor: &Actor,
    ) -> Result<ProductState> {
        let fresh = random_secret()?;
        for _ in 0..ATTEMPTS {
            let state = self.product(name).await?;
            let before = &state.product.device_secrets;
            let (secrets, word) = match &change {
                SecretChange::Ensure if before.count() > 0 => return Ok(state),
                SecretChange::Ensure => (DeviceSecrets::new([fresh]), "first"),
                SecretChange::Rotate(given) => {
                    let new = given.unwrap_or(fresh);
                    if before.signing() == Some(&new) {
                        return Ok(state);
                    }
                    if before.count() > 1 {
                        return Err(Error::new(
                            Kind::Conflict,
                            "rotation-under-way",
                            format!(
                                "product {name} has two device secrets already: end that rotation first (`firmament \
                                 product device-secret {name} --retire`), or devices with credentials of the old one \
                                 would be shut out"
                            ),
                        ));
                    }
                    (before.rotated(new), "rotate")
                }
                SecretChange::Retire if before.count() < 2 => return Ok(state),
                SecretChange::Retire => (before.without_old(), "retire"),
            };
            let audit = Audit {
                actor: actor.clone(),
                action: Action::ProductDeviceSecret,
                details: json!({ "change": word, "secrets": secrets.count() }),
                ..Audit::default()
            };
            let revision = state.product.revision;
            let written = self.catalogue.put_device_secrets(name, &secrets, revision, &audit).await?;
            if let Written::Done(state) = written {
                self.changed.notify_one();
                tracing::info!(product = %name, change = word, %actor, "device secrets changed");
                return Ok(state);
            }
        }
        Err(too_contended())
    }
}

fn random_secret() -> Result<Secret> {
    let mut secret = [0; SECRET_LENGTH];
    getrandom::fill(&mut secret).map_err(Error::internal)?;
    Ok(secret)
}
