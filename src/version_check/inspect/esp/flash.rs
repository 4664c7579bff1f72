//! A flash image merged from address 0 (`esptool merge-bin`): the bootloader, the partition table and an
//! application.
//!
//! The table (`esp_flash_partitions.h`) is at `CONFIG_PARTITION_TABLE_OFFSET`, 0x8000 unless somebody moved
//! it: entries of 32 bytes with a magic of two, then one with the MD5 of those before it.

use md5::{Digest, Md5};

use super::{image::Image, u16_at, u32_at, window};
use crate::version_check::inspect::{Facts, FaultKind, Payload, Report, facts::text_of};

const TABLE: u64 = 0x8000;
/// `ESP_PARTITION_TABLE_MAX_LEN`.
const TABLE_SIZE: u64 = 0xc00;
const ENTRY: usize = 32;
/// `ESP_PARTITION_MAGIC` and `ESP_PARTITION_MAGIC_MD5`.
const ENTRY_MAGIC: u16 = 0x50aa;
const MD5_MAGIC: u16 = 0xebeb;
const APPLICATION: u8 = 0;

/// Looks for a partition table and the first application behind it.
#[derive(Default)]
pub(super) struct Flash {
    table: Vec<u8>,
    application: Option<Application>,
}

struct Application {
    partition: Partition,
    /// Its first bytes, until the image in them is recognised.
    head: Vec<u8>,
    image: Option<Image>,
    report: Report,
}

#[derive(Clone)]
struct Partition {
    kind: u8,
    offset: u32,
    size: u32,
    name: String,
}

impl Flash {
    /// Takes the next bytes, which are at `at`.
    pub fn update(&mut self, bytes: &[u8], at: u64) {
        if at > TABLE && self.table.is_empty() {
            return; // The image before it reaches over the table's place.
        }
        let was_complete = self.table.len() as u64 == TABLE_SIZE;
        self.table.extend_from_slice(window(bytes, at, TABLE, TABLE + TABLE_SIZE));
        if !was_complete && self.table.len() as u64 == TABLE_SIZE {
            let first = self.partitions().into_iter().find(|partition| {
                partition.kind == APPLICATION && u64::from(partition.offset) >= TABLE + TABLE_SIZE
            });
            self.application = first.map(|partition| Application {
                partition,
                head: Vec::new(),
                image: None,
                report: Report { facts: Facts::of("esp-app"), ..Report::default() },
            });
        }
        if let Some(application) = &mut self.application {
            let (start, size) = (application.partition.offset.into(), application.partition.size);
            application.update(window(bytes, at, start, start + u64::from(size)));
        }
    }

    /// Whether there is a table.
    pub fn is_there(&self) -> bool {
        u16_at(&self.table, 0) == Some(ENTRY_MAGIC)
    }

    fn entries(&self) -> impl Iterator<Item = &[u8]> {
        self.table.chunks_exact(ENTRY).take_while(|entry| u16_at(entry, 0) == Some(ENTRY_MAGIC))
    }

    fn partitions(&self) -> Vec<Partition> {
        self.entries()
            .map(|entry| Partition {
                kind: entry[2],
                offset: u32_at(entry, 4).unwrap_or_default(),
                size: u32_at(entry, 8).unwrap_or_default(),
                name: text_of(&entry[12..28]),
            })
            .collect()
    }

    /// States it instead of the bootloader before it.
    pub fn state(self, end: u64, report: &mut Report) {
        let bootloader = std::mem::replace(&mut report.facts, Facts::of("esp-flash"));
        if let Some(version) = bootloader.version {
            report.facts.detail("bootloader version", version);
        }
        report.facts.names = bootloader.names;
        report.facts.detail("flash image", format!("{end} bytes, to be written at address 0"));
        self.check_table(report);
        for partition in self.partitions() {
            report.facts.detail(
                "partition",
                format!("{} at {:#x}, {:#x} bytes", partition.name, partition.offset, partition.size),
            );
            report.facts.payload(Payload { name: partition.name, size: partition.size.into(), digest: None });
        }
        if let Some(application) = self.application {
            application.state(report);
        }
    }

    fn check_table(&self, report: &mut Report) {
        if (self.table.len() as u64) < TABLE_SIZE {
            return report.fault(FaultKind::Truncated, "it ends inside its partition table: merge it again");
        }
        let length = self.entries().count() * ENTRY;
        let sum = self.table.get(length..length + ENTRY);
        let Some(sum) = sum.filter(|sum| u16_at(sum, 0) == Some(MD5_MAGIC)) else {
            return;
        };
        let found = Md5::digest(&self.table[..length]);
        if sum[16..] != found[..] {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "its partition table carries the MD5 {}, but its entries have {}: build the table again",
                    hex::encode(&sum[16..]),
                    hex::encode(found),
                ),
            );
        }
    }
}

impl Application {
    fn update(&mut self, bytes: &[u8]) {
        let missing = Image::HEAD.saturating_sub(self.head.len()).min(bytes.len());
        let (head, rest) = bytes.split_at(missing);
        self.head.extend_from_slice(head);
        if missing > 0 && self.head.len() == Image::HEAD {
            self.image = Image::probe(&self.head);
            if let Some(image) = &mut self.image {
                image.update(&self.head, &mut self.report);
            }
        }
        if let Some(image) = &mut self.image {
            image.update(rest, &mut self.report);
        }
    }

    fn state(mut self, report: &mut Report) {
        let name = self.partition.name;
        let Some(mut image) = self.image else {
            return report.facts.detail("application", format!("none that can be read in partition {name}"));
        };
        image.finish(&mut self.report);
        let facts = self.report.facts;
        report.facts.detail("application", format!("{} bytes in partition {name}", image.size()));
        report.facts.names.extend(facts.names);
        report.facts.version = facts.version;
        report.facts.semver = facts.semver;
        report.facts.security_counter = facts.security_counter;
        report.facts.built_at = facts.built_at;
        for (label, value) in facts.details {
            report.facts.detail(&label, value);
        }
        for fault in self.report.faults {
            report.fault(fault.kind, format!("the application in partition {name}: {}", fault.message));
        }
    }
}
