//! A cabinet archive on a stream: its tables, its data blocks and their checksums, and the bytes of its
//! files.
//!
//! Source: MS-CAB (Cabinet File Format) and MS-MCI (MSZIP); what fwupd takes of it:
//! `libfwupdplugin/fu-cab-firmware.c`. All numbers are little-endian.
//!
//! | part | |
//! |---|---|
//! | `CFHEADER` | `MSCF`, size of all, where the files' table begins, counts, flags; what is reserved |
//! | `CFFOLDER` each | where its data begins, count of blocks, compression |
//! | `CFFILE` each | size, where in the folder's unpacked bytes it begins, folder, name |
//! | `CFDATA` each | checksum, size, unpacked size, bytes; see `folder.rs` and `mszip.rs` |
//!
//! The `cab` crate wants to seek and reserves what the archive states; this wants neither.
//!
//! Limits: those of fwupd on files and folders; [`LARGEST_CONTENT`]. LZX and Quantum are not unpacked, and
//! sets of several cabinets are refused; fwupd takes neither.

use super::{
    super::{FaultKind, Report, facts::text_of},
    folder::{self, Folder},
};

/// Of all unpacked bytes: more than the largest firmware that fwupd is used for. Without a limit, blocks of
/// zeros would keep the inspection busy with 600 times what was sent.
const LARGEST_CONTENT: u64 = 1024 * 1024 * 1024;
/// FU_CAB_FIRMWARE_MAX_FILES.
const MOST_FILES: u16 = 1024;
/// FU_CAB_FIRMWARE_MAX_FOLDERS.
const MOST_FOLDERS: u16 = 64;
/// The longest text with its NUL (MS-CAB 2.1 and 2.3).
const LONGEST_TEXT: usize = 256;
const HEADER: usize = 36;
const FLAG_PREVIOUS: u16 = 1;
const FLAG_NEXT: u16 = 2;
const FLAG_RESERVE: u16 = 4;

/// An entry of the files' table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct File {
    /// The name without its folders, as fwupd takes it.
    pub name: String,
    pub size: u64,
    pub start: u64,
    pub folder: u16,
}

/// Takes what is in a cabinet.
pub(super) trait Visitor {
    /// The table of the files is complete.
    fn files(&mut self, files: &[File], report: &mut Report);
    /// The next bytes of a file.
    fn data(&mut self, file: usize, bytes: &[u8]);
    /// All bytes of a file have come.
    fn end_of_file(&mut self, file: usize, report: &mut Report);
}

/// Reads a cabinet that is pushed into it.
#[derive(Default)]
pub(super) struct Reader {
    step: Step,
    /// What the step has gathered.
    gathered: Vec<u8>,
    position: u64,
    header: Header,
    folders: Vec<folder::Entry>,
    files: Vec<File>,
    /// The folders in the order of their data, the next one last.
    order: Vec<usize>,
    folder: Folder,
    /// Unpacked bytes in all.
    content: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Step {
    #[default]
    Header,
    ReserveSizes,
    Reserve,
    /// Names of the cabinets before and behind in a set; how many are left.
    Neighbour(u8),
    Folder,
    /// What stands before the files' table or before a folder's data.
    Gap {
        left: u64,
        data: bool,
    },
    FileNumbers,
    FileName,
    BlockHeader,
    Block,
    /// Behind the last block.
    End,
    /// It cannot be read on.
    Broken,
}

#[derive(Default)]
struct Header {
    size: u32,
    files_start: u32,
    folders: u16,
    files: u16,
    neighbours: u8,
    header_reserve: usize,
    folder_reserve: usize,
    block_reserve: usize,
    /// Where an Authenticode signature stands, and its size.
    signature: Option<(u32, u32)>,
}

impl Reader {
    /// Takes the next bytes.
    pub fn push(&mut self, mut bytes: &[u8], visitor: &mut dyn Visitor, report: &mut Report) {
        while !bytes.is_empty() {
            let taken = match self.wants() {
                Wants::Bytes(count) => {
                    let taken = bytes.len().min(count - self.gathered.len());
                    self.gathered.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Wants::Text => {
                    let end = bytes.iter().position(|byte| *byte == 0).map_or(bytes.len(), |nul| nul + 1);
                    let taken = end.min(LONGEST_TEXT - self.gathered.len());
                    self.gathered.extend_from_slice(&bytes[..taken]);
                    taken
                }
                Wants::Nothing(left) => usize::try_from(left).unwrap_or(usize::MAX).min(bytes.len()),
            };
            self.position = self.position.saturating_add(taken as u64);
            if let Step::Gap { left, .. } = &mut self.step {
                *left -= taken as u64;
            }
            bytes = bytes.get(taken..).unwrap_or_default();
            while self.is_complete() {
                let gathered = std::mem::take(&mut self.gathered);
                if let Err(why) = self.complete(&gathered, visitor, report) {
                    report.fault(FaultKind::Malformed, why);
                    self.step = Step::Broken;
                }
                // Its memory serves the next.
                self.gathered = gathered;
                self.gathered.clear();
            }
        }
    }

    /// The files of its table.
    pub fn files(&self) -> &[File] {
        &self.files
    }

    /// The cabinet is at its end.
    pub fn finish(self, report: &mut Report) {
        let (position, stated) = (self.position, u64::from(self.header.size));
        let ended = self.step == Step::End;
        if self.step == Step::Broken {
            return;
        }
        if !ended || position < stated {
            let missing = match self.step {
                Step::Header => "in its header".to_owned(),
                _ => format!("after {position} of the {stated} bytes that it states"),
            };
            return report.fault(
                FaultKind::Truncated,
                format!("the cabinet is cut short {missing}: it was not copied or built to its end"),
            );
        }
        let behind = position - stated;
        let signature = self.header.signature;
        if let Some((start, size)) = signature.filter(|(_, size)| *size > 0) {
            report.facts.detail("authenticode signature", format!("{size} bytes at {start}, not verified"));
            report.facts.signed = true;
            if (u64::from(start), u64::from(size)) == (stated, behind) {
                return;
            }
        }
        if behind > 0 {
            report.fault(
                FaultKind::Padded,
                format!(
                    "{behind} bytes stand behind the end of the cabinet, which states {stated}: something \
                     was appended to it, and fwupd refuses that"
                ),
            );
        }
    }

    fn wants(&self) -> Wants {
        let header = &self.header;
        match self.step {
            Step::Header => Wants::Bytes(HEADER),
            Step::ReserveSizes => Wants::Bytes(4),
            Step::Reserve => Wants::Bytes(header.header_reserve),
            Step::Neighbour(_) | Step::FileName => Wants::Text,
            Step::Folder => Wants::Bytes(8 + header.folder_reserve),
            Step::Gap { left, .. } => Wants::Nothing(left),
            Step::FileNumbers => Wants::Bytes(16),
            Step::BlockHeader => Wants::Bytes(8),
            Step::Block => Wants::Bytes(header.block_reserve + self.folder.block_size()),
            Step::End | Step::Broken => Wants::Nothing(u64::MAX),
        }
    }

    fn is_complete(&self) -> bool {
        match self.wants() {
            Wants::Bytes(count) => self.gathered.len() == count,
            Wants::Text => self.gathered.last() == Some(&0) || self.gathered.len() == LONGEST_TEXT,
            Wants::Nothing(left) => left == 0,
        }
    }

    fn complete(
        &mut self,
        gathered: &[u8],
        visitor: &mut dyn Visitor,
        report: &mut Report,
    ) -> Result<(), String> {
        let number = Numbers(gathered);
        match self.step {
            Step::Header => self.take_header(number)?,
            Step::ReserveSizes => {
                self.header.header_reserve = usize::from(number.u16(0));
                self.header.folder_reserve = usize::from(number.u8(2));
                self.header.block_reserve = usize::from(number.u8(3));
                self.step = Step::Reserve;
            }
            Step::Reserve => {
                // How signtool marks a signature behind the cabinet.
                if gathered.len() == 20 && number.u32(0) == 0x0010_0000 {
                    self.header.signature = Some((number.u32(4), number.u32(8)));
                }
                self.behind_reserve();
            }
            Step::Neighbour(left) => {
                text(gathered)?;
                self.step = if left > 1 { Step::Neighbour(left - 1) } else { Step::Folder };
            }
            Step::Folder => {
                self.folders.push(folder::Entry {
                    start: number.u32(0),
                    blocks: number.u16(4),
                    compression: number.u16(6),
                });
                if self.folders.len() == usize::from(self.header.folders) {
                    let left = self.gap_to(self.header.files_start, "the table of its files")?;
                    self.step = Step::Gap { left, data: false };
                }
            }
            Step::Gap { data, .. } => self.step = if data { Step::BlockHeader } else { Step::FileNumbers },
            Step::FileNumbers => {
                let (size, start) = (u64::from(number.u32(0)), u64::from(number.u32(4)));
                self.files.push(File { name: String::new(), size, start, folder: number.u16(8) });
                self.step = Step::FileName;
            }
            Step::FileName => {
                self.take_file_name(gathered)?;
                self.step = Step::FileNumbers;
                if self.files.len() == usize::from(self.header.files) {
                    self.tables_are_complete(report)?;
                    visitor.files(&self.files, report);
                    self.next_folder(visitor, report)?;
                }
            }
            Step::BlockHeader => {
                self.folder.block_header(number, self.position)?;
                self.step = Step::Block;
            }
            Step::Block => {
                self.content = self.content.saturating_add(self.folder.block_unpacked());
                if self.content > LARGEST_CONTENT {
                    return Err(format!(
                        "the cabinet has more than {LARGEST_CONTENT} bytes unpacked; no more are read"
                    ));
                }
                let (reserved, data) = gathered.split_at(self.header.block_reserve.min(gathered.len()));
                self.folder.block(reserved, data, self.position, &self.files, visitor, report);
                self.step = Step::BlockHeader;
                if self.folder.is_complete() {
                    self.next_folder(visitor, report)?;
                }
            }
            Step::End | Step::Broken => {}
        }
        Ok(())
    }

    fn take_header(&mut self, number: Numbers) -> Result<(), String> {
        let flags = number.u16(30);
        self.header = Header {
            size: number.u32(8),
            files_start: number.u32(16),
            folders: number.u16(26),
            files: number.u16(28),
            // Two names each: of the cabinet and of the disk.
            neighbours: 2 * (u8::from(flags & FLAG_PREVIOUS != 0) + u8::from(flags & FLAG_NEXT != 0)),
            ..Header::default()
        };
        let Header { folders, files, .. } = self.header;
        if (number.u8(24), number.u8(25)) != (3, 1) {
            return Err(format!(
                "the cabinet states version {}.{}; there is only 1.3",
                number.u8(25),
                number.u8(24)
            ));
        }
        if flags & (FLAG_PREVIOUS | FLAG_NEXT) != 0 || number.u16(34) != 0 {
            return Err(
                "the cabinet is one of a set, which fwupd does not take: put all into one cabinet".to_owned()
            );
        }
        if folders == 0 || files == 0 || folders > MOST_FOLDERS || files > MOST_FILES {
            return Err(format!(
                "the cabinet states {files} files in {folders} folders; fwupd takes 1 to {MOST_FILES} files \
                 in 1 to {MOST_FOLDERS} folders"
            ));
        }
        if flags & FLAG_RESERVE != 0 {
            self.step = Step::ReserveSizes
        } else {
            self.behind_reserve()
        }
        Ok(())
    }

    fn behind_reserve(&mut self) {
        self.step =
            if self.header.neighbours > 0 { Step::Neighbour(self.header.neighbours) } else { Step::Folder };
    }

    fn take_file_name(&mut self, gathered: &[u8]) -> Result<(), String> {
        let path = text(gathered)?;
        let name = path.rsplit(['\\', '/']).next().unwrap_or_default();
        if name.is_empty() || !path.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ') {
            return Err(format!(
                "the cabinet has a file {:?}: fwupd takes names of printable ASCII characters only",
                text_of(path.as_bytes())
            ));
        }
        if self.files.iter().any(|file| file.name == name) {
            return Err(format!(
                "the cabinet has more than one file {name:?}, and fwupd looks only at the name"
            ));
        }
        if let Some(file) = self.files.last_mut() {
            file.name = name.to_owned();
        }
        Ok(())
    }

    /// Judges the tables and orders the folders.
    fn tables_are_complete(&mut self, report: &mut Report) -> Result<(), String> {
        for (index, folder) in self.folders.iter().enumerate() {
            report.facts.detail("compression", folder.compression_name());
            if folder.blocks == 0 {
                return Err(format!("folder {index} of the cabinet has no data"));
            }
        }
        let mut files: Vec<&File> = self.files.iter().collect();
        files.sort_by_key(|file| (file.folder, file.start, file.size));
        for pair in files.windows(2) {
            if pair[0].folder == pair[1].folder && pair[0].start + pair[0].size > pair[1].start {
                return Err(format!("{:?} and {:?} of the cabinet overlap", pair[0].name, pair[1].name));
            }
        }
        if let Some(file) = files.iter().find(|file| usize::from(file.folder) >= self.folders.len()) {
            return Err(format!(
                "{:?} is in folder {} of the cabinet, which has {}",
                file.name,
                file.folder,
                self.folders.len()
            ));
        }
        self.order = (0..self.folders.len()).collect();
        self.order.sort_by_key(|index| std::cmp::Reverse(self.folders[*index].start));
        Ok(())
    }

    /// Goes on to the folder whose data comes next.
    fn next_folder(&mut self, visitor: &mut dyn Visitor, report: &mut Report) -> Result<(), String> {
        let Some((index, entry)) =
            self.order.pop().and_then(|index| Some((index, *self.folders.get(index)?)))
        else {
            self.step = Step::End;
            if u64::from(self.header.size) < self.position {
                return Err(format!(
                    "the cabinet states {} bytes, and its data goes on to byte {}",
                    self.header.size, self.position
                ));
            }
            return Ok(());
        };
        self.folder = Folder::new(index, entry, &self.files);
        if !entry.is_readable() {
            let name = entry.compression_name();
            report.facts.detail("not looked into", format!("folder {index}: {name} is not unpacked"));
        }
        let left = self.gap_to(entry.start, "the data of a folder")?;
        self.step = Step::Gap { left, data: true };
        self.folder.deliver(&[], &self.files, visitor, report);
        Ok(())
    }

    fn gap_to(&self, start: u32, what: &str) -> Result<u64, String> {
        u64::from(start).checked_sub(self.position).ok_or_else(|| {
            format!("{what} would begin at byte {start} of the cabinet, inside of what stands before it")
        })
    }
}

enum Wants {
    /// So many bytes, gathered.
    Bytes(usize),
    /// A text with its NUL, gathered.
    Text,
    /// So many bytes, passed over.
    Nothing(u64),
}

/// Numbers in a gathered part, which is as long as its step wants; beyond its end they are zero.
#[derive(Clone, Copy)]
pub(super) struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn bytes<const N: usize>(self, at: usize) -> [u8; N] {
        self.0.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
    }

    pub fn u8(self, at: usize) -> u8 {
        u8::from_le_bytes(self.bytes(at))
    }

    pub fn u16(self, at: usize) -> u16 {
        u16::from_le_bytes(self.bytes(at))
    }

    pub fn u32(self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes(at))
    }
}

fn text(gathered: &[u8]) -> Result<String, String> {
    match gathered.split_last() {
        Some((0, text)) => Ok(String::from_utf8_lossy(text).into_owned()),
        _ => Err(format!("the cabinet has a name of more than {} bytes", LONGEST_TEXT - 1)),
    }
}
