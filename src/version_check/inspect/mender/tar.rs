//! A tar archive on a stream: entries and their bytes, pushed as they come.
//!
//! Layout: POSIX.1-2017, `pax` ("ustar Interchange Format", "pax Extended Header"), and the GNU extensions of
//! `tar(5)`: blocks of 512 bytes; a header with its checksum; the entry's bytes, filled up to a block; at the
//! end two blocks of zeros, and zeros up to a record of 20 blocks. Long names come as an entry of their own
//! in front: pax `x` (records `LENGTH KEY=VALUE\n`; `path` and `size` are used), GNU `L`.
//!
//! The `tar` crate pulls from a reader and cannot be fed; this is what is needed of it.
//!
//! Limits: [`LONGEST_EXTENSION`]; sparse entries are refused (their bytes are not those of the file).

use super::super::facts::text_of;

/// How tar counts.
pub(super) const BLOCK: usize = 512;
/// Archives are filled up with zeros to a multiple of this (the blocking factor of 20 that tools use unless
/// told).
const RECORD: u64 = 20 * BLOCK as u64;
/// The longest extended header or long name that is kept: Linux has no longer path than 4 KiB, and pax
/// headers with extended attributes stay below this.
const LONGEST_EXTENSION: u64 = 64 * 1024;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    /// A link, a device, a pipe.
    Other,
}

/// The header of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    /// As it is stated; a leading `./` and a directory's trailing `/` taken off.
    pub name: String,
    /// Of its bytes in the archive.
    pub size: u64,
    pub kind: Kind,
}

/// Takes what is in an archive.
pub(super) trait Visitor {
    /// An entry begins.
    fn entry(&mut self, entry: Entry);
    /// The next bytes of the entry.
    fn data(&mut self, bytes: &[u8]);
    /// All bytes of the entry have come.
    fn end_of_entry(&mut self);
}

/// How an archive ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ending {
    /// With its end mark.
    Whole,
    /// Before it; where.
    Truncated(String),
    /// With bytes behind its end mark; how many.
    Padded(u64),
    /// A header's checksum is not that of its bytes.
    ChecksumWrong(String),
    /// It is no tar archive from somewhere on.
    Malformed(String),
}

/// Reads an archive that is pushed into it.
pub(super) struct Reader {
    state: State,
    /// The header that is being collected.
    block: Vec<u8>,
    /// How many bytes have been taken.
    position: u64,
    /// What the extended headers before the next entry say of it.
    path: Option<String>,
    size: Option<u64>,
}

enum State {
    Header,
    /// An entry's bytes, then what fills them up to a block.
    Data {
        left: u64,
        fill: u64,
        name: String,
    },
    /// A header that belongs to the next entry.
    Extension {
        left: u64,
        fill: u64,
        kind: u8,
        bytes: Vec<u8>,
    },
    Fill(u64),
    /// Behind the first block of zeros.
    FirstZeros,
    /// Behind the end mark: how many bytes came there, and whether one was not zero.
    End {
        behind: u64,
        at: u64,
        dirty: bool,
    },
    Broken(Ending),
}

impl Default for Reader {
    fn default() -> Self {
        Self { state: State::Header, block: Vec::new(), position: 0, path: None, size: None }
    }
}

impl Reader {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8], visitor: &mut dyn Visitor) {
        while !bytes.is_empty() {
            let taken = self.step(bytes, visitor);
            self.position = self.position.saturating_add(taken as u64);
            bytes = bytes.get(taken..).unwrap_or_default();
        }
    }

    /// The archive is at its end.
    pub fn finish(self) -> Ending {
        match self.state {
            State::Broken(ending) => ending,
            State::End { behind, at, dirty } => {
                let record = at.next_multiple_of(RECORD).saturating_sub(at);
                if dirty || behind > record { Ending::Padded(behind) } else { Ending::Whole }
            }
            State::Data { left, name, .. } if left > 0 => {
                Ending::Truncated(format!("{left} bytes of {:?} are missing", text_of(name.as_bytes())))
            }
            State::Header if self.position == 0 => Ending::Truncated("it is empty".to_owned()),
            _ => Ending::Truncated(format!(
                "it ends at byte {} without the end mark of a tar archive (two blocks of zeros)",
                self.position
            )),
        }
    }

    /// Takes some of the bytes, at least one.
    fn step(&mut self, bytes: &[u8], visitor: &mut dyn Visitor) -> usize {
        match &mut self.state {
            State::Header | State::FirstZeros => {
                let taken = bytes.len().min(BLOCK - self.block.len());
                self.block.extend_from_slice(&bytes[..taken]);
                if self.block.len() == BLOCK {
                    self.header(visitor);
                    self.block.clear();
                }
                taken
            }
            State::Data { left, fill, .. } => {
                let taken = take(left, bytes.len());
                visitor.data(&bytes[..taken]);
                if *left == 0 {
                    let fill = *fill;
                    self.state = if fill == 0 { State::Header } else { State::Fill(fill) };
                    visitor.end_of_entry();
                }
                taken
            }
            State::Extension { left, fill, kind, bytes: kept } => {
                let taken = take(left, bytes.len());
                kept.extend_from_slice(&bytes[..taken]);
                if *left == 0 {
                    let (kind, fill, kept) = (*kind, *fill, std::mem::take(kept));
                    self.state = if fill == 0 { State::Header } else { State::Fill(fill) };
                    self.extension(kind, &kept);
                }
                taken
            }
            State::Fill(left) => {
                let taken = take(left, bytes.len());
                if *left == 0 {
                    self.state = State::Header;
                }
                taken
            }
            State::End { behind, dirty, .. } => {
                *behind = behind.saturating_add(bytes.len() as u64);
                *dirty |= bytes.iter().any(|byte| *byte != 0);
                bytes.len()
            }
            State::Broken(_) => bytes.len(),
        }
    }

    /// A block is complete where a header is due.
    fn header(&mut self, visitor: &mut dyn Visitor) {
        let at = self.position / BLOCK as u64 * BLOCK as u64;
        if self.block.iter().all(|byte| *byte == 0) {
            self.state = match self.state {
                State::FirstZeros => State::End { behind: 0, at: at + BLOCK as u64, dirty: false },
                _ => State::FirstZeros,
            };
            return;
        }
        if matches!(self.state, State::FirstZeros) {
            return self.broken(Ending::Malformed(format!(
                "at byte {at}, a block of zeros is followed by more: the end mark of a tar archive is two \
                 of them"
            )));
        }
        let Some(header) = Header::read(&self.block) else {
            return self.broken(Ending::ChecksumWrong(format!(
                "the tar header at byte {at} does not have the checksum that it states"
            )));
        };
        let size = match header.kind {
            // Their size field may say something, but no bytes follow.
            b'1'..=b'6' => 0,
            _ => match self.size.take().or(header.size) {
                Some(size) => size,
                None => {
                    return self
                        .broken(Ending::Malformed(format!("the tar header at byte {at} has no size")));
                }
            },
        };
        let fill = size.wrapping_neg() % BLOCK as u64;
        match header.kind {
            b'x' | b'g' | b'L' | b'K' => {
                if size > LONGEST_EXTENSION {
                    return self.broken(Ending::Malformed(format!(
                        "the extended tar header at byte {at} has {size} bytes; at most {LONGEST_EXTENSION} \
                         are read"
                    )));
                }
                self.state = match size {
                    0 => State::Header,
                    _ => State::Extension { left: size, fill, kind: header.kind, bytes: Vec::new() },
                };
            }
            b'S' => self.broken(Ending::Malformed(format!(
                "the tar entry at byte {at} is sparse, which is not read here: write the archive without \
                 --sparse"
            ))),
            kind => {
                let name = self.path.take().unwrap_or(header.name);
                let kind = match kind {
                    b'0' | 0 | b'7' if name.ends_with('/') => Kind::Directory,
                    b'0' | 0 | b'7' => Kind::File,
                    b'5' => Kind::Directory,
                    _ => Kind::Other,
                };
                let name = name.strip_prefix("./").unwrap_or(&name).trim_end_matches('/').to_owned();
                self.state = if size == 0 {
                    State::Header
                } else {
                    State::Data { left: size, fill, name: name.clone() }
                };
                visitor.entry(Entry { name, size, kind });
                if size == 0 {
                    visitor.end_of_entry();
                }
            }
        }
    }

    /// An extended header is complete.
    fn extension(&mut self, kind: u8, bytes: &[u8]) {
        match kind {
            b'L' => {
                let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
                self.path = Some(String::from_utf8_lossy(&bytes[..end]).into_owned());
            }
            b'x' => {
                for (key, value) in PaxRecords(bytes) {
                    match key {
                        b"path" => self.path = Some(String::from_utf8_lossy(value).into_owned()),
                        b"size" => {
                            self.size = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok())
                        }
                        key if key.starts_with(b"GNU.sparse.") => {
                            let at = self.position;
                            self.broken(Ending::Malformed(format!(
                                "the tar entry before byte {at} is sparse, which is not read here: write \
                                 the archive without --sparse"
                            )));
                            return;
                        }
                        _ => {}
                    }
                }
            }
            // A long link name, or what holds for all entries (no tool states a path or a size for all).
            _ => {}
        }
    }

    fn broken(&mut self, ending: Ending) {
        self.state = State::Broken(ending);
    }
}

/// What is used of a header block.
struct Header {
    name: String,
    size: Option<u64>,
    kind: u8,
}

impl Header {
    /// `None` if the checksum is wrong.
    fn read(block: &[u8]) -> Option<Self> {
        if !checksum_right(block) {
            return None;
        }
        let text = |range: std::ops::Range<usize>| {
            let field = block.get(range).unwrap_or_default();
            let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
            String::from_utf8_lossy(&field[..end]).into_owned()
        };
        let name = text(0..100);
        // GNU's own format has other fields where ustar has the prefix.
        let ustar = block.get(257..263) == Some(b"ustar\0");
        let prefix = if ustar { text(345..500) } else { String::new() };
        let name = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        Some(Self { name, size: number(block.get(124..136)?), kind: *block.get(156)? })
    }
}

/// Whether these bytes begin with the header of a tar archive's entry.
pub(super) fn is_header(head: &[u8]) -> bool {
    head.get(..BLOCK).is_some_and(|block| block[0] != 0 && checksum_right(block))
}

/// The sum of all bytes with the field of the checksum taken as spaces; some old tools added signed bytes.
fn checksum_right(block: &[u8]) -> bool {
    let Some(stated) = block.get(148..156).and_then(number) else {
        return false;
    };
    let own = block.get(148..156).unwrap_or_default();
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
    let signed = |bytes: &[u8]| bytes.iter().map(|byte| i64::from(byte.cast_signed())).sum::<i64>();
    let spaces = 8 * u64::from(b' ');
    stated == sum(block) - sum(own) + spaces
        || i64::try_from(stated) == Ok(signed(block) - signed(own) + spaces.cast_signed())
}

/// A number field: octal digits between spaces and NULs, or binary if its first bit is set.
fn number(field: &[u8]) -> Option<u64> {
    if field.first()? & 0x80 != 0 {
        let mut value = u64::from(field[0] & 0x7f);
        for byte in &field[1..] {
            value = value.checked_mul(256)?.checked_add(u64::from(*byte))?;
        }
        return Some(value);
    }
    let text = std::str::from_utf8(field).ok()?.trim_matches(['\0', ' ']);
    u64::from_str_radix(text, 8).ok()
}

/// The records of a pax header; ends at the first that is none.
struct PaxRecords<'a>(&'a [u8]);

impl<'a> Iterator for PaxRecords<'a> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let space = self.0.iter().position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&self.0[..space]).ok()?.parse().ok()?;
        let record = self.0.get(space + 1..length)?.strip_suffix(b"\n")?;
        self.0 = self.0.get(length..)?;
        let equals = record.iter().position(|byte| *byte == b'=')?;
        Some((&record[..equals], &record[equals + 1..]))
    }
}

/// Takes what is there of what is left.
fn take(left: &mut u64, there: usize) -> usize {
    let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(there);
    *left -= taken as u64;
    taken
}
