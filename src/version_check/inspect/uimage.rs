//! Legacy U-Boot image (`uImage`), made by `mkimage` without a source file.
//!
//! Layout (`struct legacy_img_hdr` in U-Boot's `include/image.h`; all numbers big-endian): a header of 64
//! bytes, then the data.
//!
//! | offset | field |
//! |---|---|
//! | 0 | magic `0x27051956` |
//! | 4 | CRC-32 of the header, this field taken as 0 |
//! | 8 | time of creation, in seconds since 1970 |
//! | 12 | size of the data |
//! | 16, 20 | load address, entry point |
//! | 24 | CRC-32 of the data |
//! | 28, 29, 30, 31 | operating system, architecture, type, compression |
//! | 32 | name, 32 bytes, padded with zeros |
//!
//! The data of a multi-file image and of a script begins with a table: the size of each file, then 0; the
//! files follow, each but the last padded to 4 bytes.
//!
//! The format has no version. The only word of the name that is a SemVer (`demo-a 1.3.0`) is taken for it;
//! the rest of the name is the product. `Linux-5.4.238`, the name of many kernels, is no such word: that is
//! the kernel's version. The architecture is stated as the chip.
//!
//! Verified: both CRCs, the size, and that a table fits the data. Limits: [`MOST_FILES`] in a table. Not
//! done: the compressed data is not looked into; the format has no signatures.

use chrono::{DateTime, SecondsFormat};

use super::{
    Facts, FaultKind, Inspector, NameKind, Payload, Report,
    facts::{text_of, version_in},
};

const MAGIC: u32 = 0x2705_1956;
const HEADER: usize = 64;
/// The most files in one image. U-Boot itself uses no more than three of them (kernel, ramdisk, device tree).
const MOST_FILES: usize = 64;

const SYSTEMS: &[&str] = &[
    "invalid",
    "openbsd",
    "netbsd",
    "freebsd",
    "4_4bsd",
    "linux",
    "svr4",
    "esix",
    "solaris",
    "irix",
    "sco",
    "dell",
    "ncr",
    "lynxos",
    "vxworks",
    "psos",
    "qnx",
    "u-boot",
    "rtems",
    "artos",
    "unity",
    "integrity",
    "ose",
    "plan9",
    "openrtos",
    "arm-trusted-firmware",
    "tee",
    "opensbi",
    "efi",
];
const ARCHITECTURES: &[&str] = &[
    "invalid",
    "alpha",
    "arm",
    "x86",
    "ia64",
    "mips",
    "mips64",
    "powerpc",
    "s390",
    "sh",
    "sparc",
    "sparc64",
    "m68k",
    "nios",
    "microblaze",
    "nios2",
    "blackfin",
    "avr32",
    "st200",
    "sandbox",
    "nds32",
    "or1k",
    "arm64",
    "arc",
    "x86_64",
    "xtensa",
    "riscv",
];
const MULTI: u8 = 4;
const SCRIPT: u8 = 6;
const TYPES: &[&str] = &[
    "invalid",
    "standalone",
    "kernel",
    "ramdisk",
    "multi",
    "firmware",
    "script",
    "filesystem",
    "flat_dt",
    "kwbimage",
    "imximage",
    "ublimage",
    "omapimage",
    "aisimage",
    "kernel_noload",
    "pblimage",
    "mxsimage",
    "gpimage",
    "atmelimage",
    "socfpgaimage",
    "x86_setup",
    "lpc32xximage",
    "loadable",
    "rkimage",
    "rksd",
    "rkspi",
    "zynqimage",
    "zynqmpimage",
    "zynqmpbif",
    "fpga",
    "vybridimage",
    "tee",
    "firmware_ivt",
    "pmmc",
    "stm32image",
    "socfpgaimage_v1",
    "mtk_image",
    "imx8mimage",
    "imx8image",
    "copro",
    "sunxi_egon",
];
const COMPRESSIONS: &[&str] = &["none", "gzip", "bzip2", "lzma", "lzo", "lz4", "zstd"];

struct Uimage {
    report: Report,
    /// How many bytes have passed, the header's included.
    at: u64,
    crc: crc32fast::Hasher,
    /// `None` = the image ends within its header.
    header: Option<Header>,
    table: Table,
}

struct Header {
    size: u32,
    data_crc: u32,
    kind: u8,
}

/// The table of files at the beginning of the data.
enum Table {
    /// This type of image has none.
    None,
    Reading {
        word: u32,
        filled: u8,
        sizes: Vec<u32>,
    },
    Complete(Vec<u32>),
    TooLong,
}

/// Knows a uImage by its magic.
pub(super) fn probe(head: &[u8]) -> Option<Box<dyn Inspector>> {
    if head.get(..4)? != MAGIC.to_be_bytes() {
        return None;
    }
    let mut report = Report { facts: Facts::of("uimage"), ..Report::default() };
    let header = head.first_chunk::<HEADER>().map(|bytes| read_header(bytes, &mut report));
    let table = match &header {
        Some(Header { kind: MULTI | SCRIPT, .. }) => Table::Reading { word: 0, filled: 0, sizes: Vec::new() },
        _ => Table::None,
    };
    Some(Box::new(Uimage { report, at: 0, crc: crc32fast::Hasher::new(), header, table }))
}

fn read_header(bytes: &[u8; HEADER], report: &mut Report) -> Header {
    let word = |at: usize| {
        bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u32::from_be_bytes(*bytes))
    };
    let [system, architecture, kind, compression] = word(28).to_be_bytes();
    let mut unsummed = *bytes;
    unsummed[4..8].fill(0);
    let (stated, real) = (word(4), crc32fast::hash(&unsummed));
    if stated != real {
        report.fault(
            FaultKind::DigestWrong,
            format!(
                "the uImage header states CRC-32 {stated:08x} of itself, and it is {real:08x}: the header \
                 was damaged or edited by hand; make the image with mkimage again"
            ),
        );
    }
    let name = text_of(&bytes[32..]);
    let facts = &mut report.facts;
    let product = version_in(&name).map(|(version, product)| {
        facts.set_version(version);
        product
    });
    facts.name(NameKind::Product, product.as_deref().unwrap_or(&name));
    facts.detail("name", &name);
    if architecture != 0 {
        facts.name(NameKind::Chip, &entry(ARCHITECTURES, architecture));
    }
    facts.built_at = (word(8) != 0)
        .then(|| DateTime::from_timestamp(i64::from(word(8)), 0))
        .flatten()
        .map(|time| time.to_rfc3339_opts(SecondsFormat::Secs, true));
    facts.detail("type", entry(TYPES, kind));
    facts.detail("architecture", entry(ARCHITECTURES, architecture));
    facts.detail("operating system", entry(SYSTEMS, system));
    facts.detail("compression", entry(COMPRESSIONS, compression));
    facts.detail("load address", format!("0x{:08x}", word(16)));
    facts.detail("entry point", format!("0x{:08x}", word(20)));
    Header { size: word(12), data_crc: word(24), kind }
}

fn entry(table: &[&str], code: u8) -> String {
    table.get(usize::from(code)).map_or_else(|| format!("unknown ({code})"), |name| (*name).to_owned())
}

impl Inspector for Uimage {
    fn update(&mut self, bytes: &[u8]) {
        let start = self.at;
        self.at = self.at.saturating_add(bytes.len() as u64);
        let Some(header) = &self.header else { return };
        // What lies behind the stated end belongs to neither the CRC nor the table.
        let position = |offset: u64| {
            usize::try_from(offset.saturating_sub(start)).map_or(bytes.len(), |at| at.min(bytes.len()))
        };
        let data = &bytes[position(HEADER as u64)..position(HEADER as u64 + u64::from(header.size))];
        self.crc.update(data);
        self.table.update(data);
    }

    fn so_far(&self) -> Option<&Facts> {
        self.header.as_ref().map(|_| &self.report.facts)
    }

    fn finish(self: Box<Self>) -> Report {
        let Self { mut report, at, crc, header, table } = *self;
        let Some(header) = header else {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "the image has {at} bytes, and a uImage header alone has {HEADER}: upload the whole file"
                ),
            );
            return report;
        };
        let end = HEADER as u64 + u64::from(header.size);
        let crc = crc.finalize();
        let mut digest = None;
        if at < end {
            report.fault(
                FaultKind::Truncated,
                format!(
                    "the uImage header states {} bytes of data, so the file should have {end} bytes and has \
                     {at}: it was cut off; upload the whole file",
                    header.size
                ),
            );
        } else if crc == header.data_crc {
            digest = Some(format!("crc32:{crc:08x}"));
        } else {
            report.fault(
                FaultKind::DigestWrong,
                format!(
                    "the uImage header states CRC-32 {:08x} of the data, and it is {crc:08x}: the file was \
                     damaged; build or copy it again",
                    header.data_crc
                ),
            );
        }
        if at > end {
            report.fault(
                FaultKind::Padded,
                format!(
                    "the uImage ends at byte {end} and the file goes on for {} bytes: what stands there is \
                     neither checked nor, by U-Boot, loaded; cut it off, or expect another format for this \
                     product",
                    at - end
                ),
            );
        }
        report.facts.own_digest.clone_from(&digest);
        table.state(&mut report, &header, digest);
        report
    }
}

impl Table {
    fn update(&mut self, data: &[u8]) {
        for byte in data {
            let Self::Reading { word, filled, sizes } = self else { return };
            *word = (*word << 8) | u32::from(*byte);
            *filled += 1;
            if *filled < 4 {
                continue;
            }
            if *word == 0 {
                *self = Self::Complete(std::mem::take(sizes));
            } else if sizes.len() == MOST_FILES {
                *self = Self::TooLong;
            } else {
                sizes.push(*word);
                (*word, *filled) = (0, 0);
            }
        }
    }

    fn state(self, report: &mut Report, header: &Header, digest: Option<String>) {
        let fault = match self {
            Self::None => {
                let name = entry(TYPES, header.kind);
                report.facts.payload(Payload { name, size: u64::from(header.size), digest });
                return;
            }
            Self::Complete(sizes) if !sizes.is_empty() => {
                let padded = |size: &u32| u64::from(*size).next_multiple_of(4);
                let table = 4 * (sizes.len() as u64 + 1);
                let files: u64 = sizes.iter().map(padded).sum();
                // mkimage does not pad the last one; other makers do.
                let slack = sizes.last().map_or(0, |size| padded(size) - u64::from(*size));
                for (number, size) in sizes.iter().enumerate() {
                    let (name, size) = (format!("file {number}"), u64::from(*size));
                    report.facts.payload(Payload { name, size, digest: None });
                }
                let stated = u64::from(header.size);
                if (table + files - slack..=table + files).contains(&stated) {
                    return;
                }
                format!(
                    "the table of the uImage lists {} files that take {} bytes with the table, and its \
                     header states {stated} bytes of data: make the image with mkimage again",
                    sizes.len(),
                    table + files - slack,
                )
            }
            Self::Complete(_) => {
                "the table of files in the uImage is empty: give mkimage the files with -d".to_owned()
            }
            Self::TooLong => format!(
                "the table of files in the uImage has more than {MOST_FILES} entries: a multi-file image or \
                 script that U-Boot can use has a few; check the image's type"
            ),
            Self::Reading { .. } => {
                "the data of the uImage ends within its table of files: check the image's type and its size"
                    .to_owned()
            }
        };
        report.fault(FaultKind::Malformed, fault);
    }
}

#[cfg(test)]
mod tests;
