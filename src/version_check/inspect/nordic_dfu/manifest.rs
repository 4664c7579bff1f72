//! `manifest.json`: which firmware goes with which init packet; and the comparison of both.

use serde::Deserialize;
use serde_json::Value;

use super::init_packet::{self, InitPacket, Kind};
use super::{Facts, FaultKind, File, LARGEST_FIRMWARE, LONGEST_PACKET, Payload, Report, text_of};
use crate::domain::Version;
use crate::version_check::inspect::{NameKind, Signature};

/// The images that a package may have, the most interesting first; `(key, what the init packet calls it)`.
const IMAGES: [(&str, &[Kind]); 4] = [
    ("application", &[Kind::Application, Kind::ExternalApplication]),
    ("bootloader", &[Kind::Bootloader]),
    ("softdevice_bootloader", &[Kind::SoftDeviceBootloader]),
    ("softdevice", &[Kind::SoftDevice]),
];

/// SoftDevice ids that mean "any" (0xFFFE of both flavours' tools) are not stated.
const ANY_SOFTDEVICE: u32 = 0xfffe;

/// Which image, of which firmware.
pub(super) struct Manifest(Vec<(usize, Entry)>);

#[derive(Deserialize)]
struct Entry {
    bin_file: String,
    dat_file: String,
    init_packet_data: Option<InitPacketData>,
    sd_size: Option<u64>,
    bl_size: Option<u64>,
}

/// The legacy flavour's copy of the init packet.
#[derive(Deserialize)]
struct InitPacketData {
    application_version: Option<u32>,
    device_type: Option<u16>,
    device_revision: Option<u16>,
    softdevice_req: Option<Vec<u32>>,
    firmware_crc16: Option<u16>,
    firmware_hash: Option<String>,
    firmware_length: Option<u64>,
}

/// Reads a manifest; `None` = it is not one of a DFU package.
pub(super) fn read(json: &[u8]) -> Option<Result<Manifest, String>> {
    let value: Value = serde_json::from_slice(json).ok()?;
    let object = value.get("manifest")?.as_object()?;
    if !IMAGES.iter().any(|(key, _)| object.contains_key(*key)) {
        return None;
    }
    let mut entries = Vec::new();
    for (image, (key, _)) in IMAGES.iter().enumerate() {
        match object.get(*key).filter(|entry| !entry.is_null()).map(Entry::deserialize) {
            Some(Ok(entry)) => entries.push((image, entry)),
            Some(Err(error)) => return Some(Err(format!("{key}: {error}"))),
            None => {}
        }
    }
    Some(if entries.is_empty() { Err("it names no image".into()) } else { Ok(Manifest(entries)) })
}

impl Manifest {
    /// States what the init packets say; whether all of them were there.
    pub fn state(&self, files: &[File], report: &mut Report) -> bool {
        let (mut all, mut signed) = (true, true);
        for (image, entry) in &self.0 {
            let Ok(packet) = entry.packet(files) else {
                all = false;
                continue;
            };
            signed &= packet.signature.is_some();
            state_packet(IMAGES[*image].0, &packet, &mut report.facts);
            // A device verifies each image by itself: each is a group.
            let group = report.signatures.len() as u32;
            report.signatures.extend(packet.signature.map(|signature| Signature { group, ..signature }));
        }
        // A bootloader that wants signatures refuses each image that has none.
        report.facts.signed = all && signed;
        all
    }

    /// States and judges all.
    pub fn judge(&self, files: &[File], report: &mut Report) {
        self.state(files, report);
        for (image, entry) in &self.0 {
            let (key, kinds) = IMAGES[*image];
            let packet = entry.packet(files);
            let firmware = files.iter().find(|file| file.name == entry.bin_file);
            match &packet {
                Ok(packet) => entry.compare(key, kinds, packet, report),
                Err((kind, why)) => {
                    report.fault(*kind, format!("{key}: init packet {:?} {why}", entry.dat_file))
                }
            }
            match firmware {
                Some(firmware) => entry.firmware(key, firmware, packet.ok().as_ref(), report),
                None => report.fault(
                    FaultKind::Malformed,
                    format!(
                        "{key}: {:?}, which the manifest names, is not in the package",
                        text_of(entry.bin_file.as_bytes())
                    ),
                ),
            }
        }
        // Images are sent to the device one after the other, so the largest has to fit.
        report.facts.installed_size = report.facts.payloads.iter().map(|payload| payload.size).max();
    }
}

fn state_packet(key: &str, packet: &InitPacket, facts: &mut Facts) {
    let mut detail = |label: &str, value: String| facts.detail(&format!("{key} {label}"), value);
    if let Some(revision) = packet.revision {
        detail("device revision", revision.to_string());
    }
    let wanted = packet.softdevices.iter().filter(|id| **id != ANY_SOFTDEVICE);
    let wanted: Vec<String> = wanted.map(|id| format!("0x{id:x}")).collect();
    if !wanted.is_empty() {
        detail("needs SoftDevice", wanted.join(" or "));
    }
    if packet.debug {
        detail("debug", "yes: bootloaders skip the comparison of versions".into());
    }
    if packet.kind == Some(Kind::ExternalApplication) {
        detail("target", "external: the device passes it on".into());
    }
    for validation in &packet.boot_validation {
        let name = match validation {
            0 => "none",
            1 => "generated CRC",
            2 => "SHA-256",
            3 => "ECDSA P-256 with SHA-256",
            _ => "unknown",
        };
        detail("validation at boot", name.into());
    }
    if let Some(digest) = &packet.other_digest {
        detail("digest that is not verified", digest.clone());
    }
    if let Some(version) = packet.version {
        let decimals = [version / 10_000, version / 100 % 100, version % 100];
        let bytes = [version >> 16, version >> 8 & 0xff, version & 0xff];
        let [decimals, bytes] =
            [decimals, bytes].map(|[major, minor, patch]| format!("{major}.{minor}.{patch}"));
        detail("version", format!("{version}; read as decimals {decimals}, read as bytes {bytes}"));
        // Images come in the order of interest, so the first that states a version is the package's.
        if facts.version.is_none() {
            facts.version = Some(version.to_string());
            facts.semver_readings =
                [decimals, bytes].iter().filter_map(|text| Version::parse(text).ok()).collect();
            // The secure bootloader takes no application that is older than its own (fw_version), except in
            // debug mode.
            let counts = packet.secure && !packet.debug && packet.kind == Some(Kind::Application);
            facts.security_counter = counts.then_some(version.into());
        }
    }
    if let Some(hardware) = packet.hardware {
        // Each as its tool takes it: --hw-version 52, --dev-type 0x0052.
        let text = if packet.secure { hardware.to_string() } else { format!("0x{hardware:04x}") };
        facts.name(NameKind::Hardware, &text);
    }
}

impl Entry {
    fn packet(&self, files: &[File]) -> Result<InitPacket, (FaultKind, String)> {
        let malformed = |why: &str| (FaultKind::Malformed, why.to_owned());
        let file = files.iter().find(|file| file.name == self.dat_file);
        let file = file.ok_or_else(|| malformed("is not in the package, though the manifest names it"))?;
        if file.read.is_none() {
            return Err((FaultKind::Truncated, "is cut".into()));
        }
        if !file.is_right() {
            return Err((FaultKind::DigestWrong, "is damaged or encrypted".into()));
        }
        if file.size > LONGEST_PACKET as u64 {
            return Err(malformed("is far too long for any bootloader"));
        }
        let legacy = || init_packet::legacy(&file.content);
        let packet = match self.init_packet_data {
            Some(_) => legacy(),
            None => init_packet::secure(&file.content).or_else(|why| legacy().map_err(|_| why)),
        };
        packet.map_err(|why| malformed(&format!("cannot be read: {why}")))
    }

    /// The init packet against the manifest.
    fn compare(&self, key: &str, kinds: &[Kind], packet: &InitPacket, report: &mut Report) {
        let mut differs = |what: &str| {
            let message = format!(
                "{key}: manifest and init packet differ in the {what}: the package was put together from \
                 two; make it again"
            );
            report.fault(FaultKind::Malformed, message);
        };
        if packet.kind.is_some_and(|kind| !kinds.contains(&kind)) {
            differs("type of firmware");
        }
        let sizes = (self.sd_size, self.bl_size);
        if let ((Some(softdevice), Some(bootloader)), true) = (sizes, packet.secure)
            && softdevice.checked_add(bootloader) != packet.size
        {
            differs("size");
        }
        let Some(data) = &self.init_packet_data else { return };
        let version = data.application_version.filter(|version| *version != u32::MAX);
        let kind = data.device_type.filter(|kind| *kind != u16::MAX).map(u32::from);
        let revision = data.device_revision.filter(|revision| *revision != u16::MAX);
        let hash = data.firmware_hash.as_ref();
        for (same, what) in [
            (version == packet.version, "version"),
            (kind == packet.hardware, "device type"),
            (revision == packet.revision, "device revision"),
            (data.softdevice_req.as_ref().is_none_or(|list| *list == packet.softdevices), "SoftDevices"),
            (data.firmware_crc16.is_none_or(|crc| Some(crc) == packet.crc16), "CRC16"),
            (data.firmware_length.is_none_or(|length| Some(length) == packet.size), "size"),
            (hash.is_none_or(|hash| Some(hash.to_lowercase()) == packet.sha256.map(hex::encode)), "SHA-256"),
        ] {
            if !same {
                differs(what);
            }
        }
    }

    /// The firmware against the init packet.
    fn firmware(&self, key: &str, firmware: &File, packet: Option<&InitPacket>, report: &mut Report) {
        let name = firmware.name.clone();
        let mut payload = Payload { name, size: firmware.size, digest: None };
        let digest = match packet {
            // Its damage or its missing end has been told.
            _ if firmware.read.is_none() || !firmware.is_right() => None,
            Some(packet) => self.digest(key, firmware, packet, report),
            None => None,
        };
        if let Some(digest) = &digest
            && digest.starts_with("sha256:")
        {
            report.facts.own_digest.get_or_insert_with(|| digest.clone());
        }
        payload.digest = digest;
        if firmware.read.is_some() {
            report.facts.payload(payload);
        }
        if firmware.read == Some(super::Read::PassedOver) {
            let message = format!(
                "{key}: {:?} is encrypted or packed by a method that no tool for DFU reads",
                firmware.name
            );
            report.fault(FaultKind::Malformed, message);
        }
    }

    fn digest(&self, key: &str, firmware: &File, packet: &InitPacket, report: &mut Report) -> Option<String> {
        if let Some(size) = packet.size.filter(|size| *size != firmware.size) {
            let kind = if size > firmware.size { FaultKind::Truncated } else { FaultKind::Padded };
            let message = format!(
                "{key}: {:?} has {} bytes, and its init packet says {size}",
                firmware.name, firmware.size
            );
            report.fault(kind, message);
        }
        let Some(sha256) = firmware.sha256() else {
            let message = format!("{key}: {:?} is larger than {LARGEST_FIRMWARE} bytes", firmware.name);
            report.fault(FaultKind::Malformed, message);
            return None;
        };
        let (right, digest) = match (packet.sha256, packet.crc16) {
            (Some(stated), _) => (stated == sha256, format!("sha256:{}", hex::encode(stated))),
            (None, Some(stated)) => (stated == firmware.crc16, format!("crc16:{stated:04x}")),
            (None, None) => return None,
        };
        if !right {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "{key}: {:?} does not have the {} that its init packet states: the package was changed \
                     after it was made, or put together from two; make it again",
                    firmware.name,
                    if packet.sha256.is_some() { "SHA-256" } else { "CRC16" },
                ),
            );
        }
        right.then_some(digest)
    }
}
