//! The typed storage key: it owns path, content type, cache rule and disposition, and nobody formats one by hand.
//!
//! Keys are `{product}/{version}/{filename}`, characters `[A-Za-z0-9._-]` and `/`: no escaping in a URL, a tidy tree in
//! a mount, and no key is a directory prefix of another, as all have three parts.

use std::fmt;

use crate::domain::{FileName, ProductName, Version, key_of};

/// Where an image is in the bucket, and below a CDN's base URL.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    path: Box<str>,
    filename_at: usize,
}

impl ObjectKey {
    /// The key of an image.
    pub fn image(product: &ProductName, version: &Version, filename: &FileName) -> Self {
        let path = key_of(product.as_str(), version, filename);
        Self { filename_at: path.len() - filename.as_str().len(), path: path.into() }
    }

    /// The key in a text; `None` when no key of ours reads like that. What it lets through can leave no
    /// directory: names start with a letter or digit and hold no slash.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let product = ProductName::parse(parts.next()?).ok()?;
        let version = Version::parse(parts.next()?).ok()?;
        let filename = FileName::parse(parts.next()?).ok()?;
        let key = Self::image(&product, &version, &filename);
        // Refuses a fourth part, and a version that was not in its one written form.
        (key.as_str() == text).then_some(key)
    }

    /// The whole key, without a leading slash.
    pub fn as_str(&self) -> &str {
        &self.path
    }

    /// `Content-Type`. Devices want bytes; a type guessed from the name would invite proxies to transform them.
    pub fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    /// `Content-Disposition`: a browser saves the file under its name.
    pub fn content_disposition(&self) -> String {
        format!("attachment; filename=\"{}\"", &self.path[self.filename_at..])
    }

    /// `Cache-Control`: objects are immutable, so a cache may keep them for a year (the most that RFC 9111 knows).
    pub fn cache_control(&self) -> &'static str {
        "public, max-age=31536000, immutable"
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_key_as_we_write_it_parses() {
        let key = ObjectKey::parse("thermo-x/1.4.0-rc.1/Thermo_X.bin").expect("a key");
        assert_eq!(key.as_str(), "thermo-x/1.4.0-rc.1/Thermo_X.bin");
        assert_eq!(key.content_disposition(), "attachment; filename=\"Thermo_X.bin\"");
        for no_key in [
            "",
            "a",
            "a/1.0.0",
            "a/1.0.0/",
            "/a/1.0.0/f",
            "a/1.0.0/f/g",
            "a/1.0.0/f/",
            "a/v1.0.0/f",
            "a/1.0.0+b/f",
            "../1.0.0/f",
            "a/../f",
            "a/1.0.0/..",
            "a/1.0.0/.f",
            "a/1.0.0/f~",
            "a/1.0.0/f\0",
            "A/1.0.0/f",
        ] {
            assert_eq!(ObjectKey::parse(no_key), None, "{no_key}");
        }
    }
}
