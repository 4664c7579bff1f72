//! Jcat files in a cabinet: checksums of its files and signatures over them.
//!
//! Source: `libjcat/jcat-common.h` and `jcat-blob.c` of libjcat. A gzip of JSON: `Items`, each with an `Id`
//! (a file name) and `Blobs`, each with a `Kind` and `Data`: the hex of a digest, or a signature as text or
//! base64.
//!
//! Limits: [`LONGEST`], [`LONGEST_JSON`], [`MOST_ITEMS`]. Signatures are stated, not read.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use serde::Deserialize;

use super::super::facts::text_of;

/// The longest file that is read; real ones have some thousand bytes for each file of the cabinet.
pub(super) const LONGEST: usize = 1024 * 1024;
/// The longest JSON that may come out of it.
const LONGEST_JSON: u64 = 4 * 1024 * 1024;
/// The most items that are read: those of all files that a cabinet may have.
pub(super) const MOST_ITEMS: usize = 1024;
/// The most blobs of an item that are read; real ones have about three.
const MOST_BLOBS: usize = 20;

/// What a file of the cabinet has here.
#[derive(Debug)]
pub(super) struct Item {
    pub file: String,
    /// SHA-1, SHA-256 and SHA-512 in lower-case hex.
    pub checksums: Vec<String>,
    /// What kinds of signatures.
    pub signatures: Vec<&'static str>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Stated {
    items: Vec<StatedItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatedItem {
    id: String,
    #[serde(default)]
    blobs: Vec<StatedBlob>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct StatedBlob {
    kind: u32,
    #[serde(default)]
    data: String,
}

/// The items of a file.
///
/// # Errors
/// What is wrong with it, as the end of a sentence.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Item>, String> {
    let mut json = Vec::new();
    MultiGzDecoder::new(bytes)
        .take(LONGEST_JSON + 1)
        .read_to_end(&mut json)
        .map_err(|error| format!("it is no right gzip: {error}"))?;
    if json.len() as u64 > LONGEST_JSON {
        return Err(format!("it becomes more than {LONGEST_JSON} bytes, and no more are read"));
    }
    let stated: Stated =
        serde_json::from_slice(&json).map_err(|error| format!("it is no Jcat file: {error}"))?;
    Ok(stated.items.into_iter().take(MOST_ITEMS).map(item).collect())
}

fn item(stated: StatedItem) -> Item {
    let mut item =
        Item { file: text_of(stated.id.as_bytes()), checksums: Vec::new(), signatures: Vec::new() };
    for blob in stated.blobs.into_iter().take(MOST_BLOBS) {
        // JcatBlobKind.
        match blob.kind {
            1 | 4 | 10 => item.checksums.push(text_of(blob.data.trim().as_bytes()).to_lowercase()),
            2 => item.signatures.push("GPG"),
            3 => item.signatures.push("PKCS7"),
            9 => item.signatures.push("ED25519"),
            _ => {}
        }
    }
    item
}
