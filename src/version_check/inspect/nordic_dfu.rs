//! Nordic DFU packages, and zip archives that are none.
//!
//! # Layout
//! A zip archive (`zip.rs`) with `manifest.json`, which names for `application`, `bootloader`, `softdevice`
//! or `softdevice_bootloader` a firmware (`bin_file`) and an init packet (`dat_file`, see `init_packet.rs`),
//! in the legacy flavour with the packet's numbers once more (`manifest.py` and `package.py` of
//! adafruit-nrfutil and pc-nrfutil). The files stand in any order. An archive without such a manifest is
//! stated as `zip`.
//!
//! # What it verifies
//! CRC32 and sizes of every file that is stored or deflated; local headers against the central directory; of
//! each firmware its CRC16 or SHA-256 and its size against the init packet; the packet's type against the
//! manifest; the manifest's numbers against the packet's. The signature is stated with the bytes that it
//! signs.
//!
//! # Versions
//! Firmware versions are plain numbers. nrfutil makes 10300 of `1.3.0`, others pack bytes (66304), others
//! count: the number is stated as it is, with both readings beside it, and no SemVer of its own.
//!
//! # Limits
//! [`MOST_FILES`], [`LONGEST_MANIFEST`], [`LONGEST_PACKET`], [`LARGEST_FIRMWARE`].

mod init_packet;
mod manifest;
#[cfg(test)]
mod tests;
mod zip;

use sha2::{Digest, Sha256};

use super::facts::text_of;
use super::{Facts, FaultKind, Inspector, Payload, Report};
use manifest::Manifest;
use zip::{Event, Read, Zip};

/// A package has a manifest and two files for each of at most four images. Further files of an archive are
/// read and counted, but not kept.
const MOST_FILES: usize = 64;
/// Manifests have some hundred bytes.
const LONGEST_MANIFEST: usize = 64 << 10;
/// Bootloaders take 512 bytes (`INIT_COMMAND_MAX_SIZE` of the SDK).
const LONGEST_PACKET: usize = 4 << 10;
/// The largest file that digests are computed of; the chips have up to 2 MB, external flash some more.
const LARGEST_FIRMWARE: u64 = 256 << 20;

const MANIFEST: &str = "manifest.json";

/// Takes what begins with the local header of a zip archive's first file.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    head.starts_with(b"PK\x03\x04").then(|| Box::new(Package::new()) as _)
}

struct Package {
    zip: Zip,
    report: Report,
    files: Vec<File>,
    /// Whether the file that is being read is the last of `files`.
    kept: bool,
    early: Option<Facts>,
}

/// A file of the archive.
struct File {
    name: String,
    /// What has come of it; at its end, what the archive states, which of damaged files is the only sure
    /// thing.
    size: u64,
    /// The first bytes; all, if it is a manifest or an init packet.
    content: Vec<u8>,
    crc16: u16,
    sha256: Sha256,
    read: Option<Read>,
}

impl Package {
    fn new() -> Self {
        let report = Report::default();
        Self { zip: Zip::new(), report, files: Vec::new(), kept: false, early: None }
    }
}

impl Inspector for Package {
    fn update(&mut self, bytes: &[u8]) {
        let Self { zip, report, files, kept, early } = self;
        zip.update(bytes, report, &mut |event| match event {
            Event::Begin(name) => {
                *kept = files.len() < MOST_FILES;
                if *kept {
                    files.push(File::new(name));
                }
            }
            Event::Bytes(bytes) => {
                if let Some(file) = files.last_mut().filter(|_| *kept) {
                    file.take(bytes);
                }
            }
            Event::End(read, size) => {
                if let Some(file) = files.last_mut().filter(|_| *kept) {
                    file.read = Some(read);
                    file.size = size;
                }
                if *kept && early.is_none() {
                    *early = facts_so_far(files);
                }
                *kept = false;
            }
        });
    }

    fn so_far(&self) -> Option<&Facts> {
        self.early.as_ref()
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { zip, mut report, files, .. } = *self;
        zip.finish(&mut report);
        match manifest_of(&files) {
            Some(manifest) => {
                report.facts.format = "nordic-dfu".into();
                for twin in files
                    .iter()
                    .enumerate()
                    .filter(|(at, file)| files[..*at].iter().any(|before| before.name == file.name))
                {
                    let message = format!(
                        "the package has two files {:?}: tools differ in which they take",
                        twin.1.name
                    );
                    report.fault(FaultKind::Malformed, message);
                }
                if zip.files() > MOST_FILES as u64 {
                    let message =
                        format!("the package has {} files; at most {MOST_FILES} are looked at", zip.files());
                    report.fault(FaultKind::Malformed, message);
                }
                if let Some(why) = zip.unread() {
                    let message =
                        format!("the package cannot be read to its end ({why}): make it again with nrfutil");
                    report.fault(FaultKind::Malformed, message);
                }
                match manifest {
                    Ok(manifest) => manifest.judge(&files, &mut report),
                    Err(why) => report.fault(FaultKind::Malformed, format!("{MANIFEST}: {why}")),
                }
            }
            None => {
                report.facts.format = "zip".into();
                report.facts.detail("files", zip.files().to_string());
                report.facts.detail("not read to its end", zip.unread().unwrap_or_default());
                for file in files.into_iter().filter(|file| file.read.is_some()) {
                    let digest = match file.read {
                        Some(Read::Right(crc)) => Some(format!("crc32:{crc:08x}")),
                        _ => None,
                    };
                    report.facts.payload(Payload { name: file.name, size: file.size, digest });
                }
            }
        }
        report
    }
}

/// The manifest, if there is one of a package; why it cannot be understood.
fn manifest_of(files: &[File]) -> Option<Result<Manifest, String>> {
    let file = files.iter().find(|file| file.name == MANIFEST)?;
    let file = Some(file).filter(|file| file.is_right() && file.size <= LONGEST_MANIFEST as u64)?;
    manifest::read(&file.content)
}

/// Facts, once the manifest and the init packets that it names have come.
fn facts_so_far(files: &[File]) -> Option<Facts> {
    let manifest = manifest_of(files)?.ok()?;
    let mut report = Report { facts: Facts::of("nordic-dfu"), ..Report::default() };
    manifest.state(files, &mut report).then_some(report.facts)
}

impl File {
    fn new(name: &str) -> Self {
        let sha256 = Sha256::new();
        Self { name: name.into(), size: 0, content: Vec::new(), crc16: 0xffff, sha256, read: None }
    }

    fn take(&mut self, bytes: &[u8]) {
        self.size += bytes.len() as u64;
        let most = if self.name == MANIFEST { LONGEST_MANIFEST } else { LONGEST_PACKET };
        let kept = bytes.len().min(most - self.content.len());
        self.content.extend_from_slice(&bytes[..kept]);
        if self.size <= LARGEST_FIRMWARE {
            self.sha256.update(bytes);
            self.crc16 = bytes.iter().fold(self.crc16, |crc, byte| crc16(crc, *byte));
        }
    }

    /// Whether its bytes have all come and were right.
    fn is_right(&self) -> bool {
        matches!(self.read, Some(Read::Right(_)))
    }

    fn sha256(&self) -> Option<[u8; 32]> {
        (self.size <= LARGEST_FIRMWARE).then(|| self.sha256.clone().finalize().into())
    }
}

/// CRC-16/IBM-3740, begun with all ones (`crc16.c` of the SDK).
fn crc16(crc: u16, byte: u8) -> u16 {
    let mut crc = crc.rotate_left(8) ^ u16::from(byte);
    crc ^= (crc & 0xff) >> 4;
    crc ^= crc << 12;
    crc ^ (crc & 0xff) << 5
}
