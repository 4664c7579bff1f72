//! MSZIP (MS-MCI): blocks of at most 32 KiB, each `CK` and a deflate stream (RFC 1951) of its own that may
//! look back into what the blocks before became.

use std::collections::VecDeque;

use flate2::{Decompress, FlushDecompress, Status};

/// How far deflate looks back, and the most that a block becomes.
const WINDOW: usize = 32 * 1024;

/// Unpacks the blocks of a folder, in order.
pub(super) struct MsZip {
    inflate: Decompress,
    /// The last bytes that came out, in front of them the header of a stored deflate block.
    history: VecDeque<u8>,
    output: Vec<u8>,
}

impl Default for MsZip {
    fn default() -> Self {
        Self { inflate: Decompress::new(false), history: VecDeque::new(), output: vec![0; WINDOW + 1] }
    }
}

impl MsZip {
    /// Unpacks a block that becomes so many bytes.
    ///
    /// # Errors
    /// What is wrong with it, as the end of a sentence.
    pub fn unpack(&mut self, block: &[u8], size: usize) -> Result<&[u8], String> {
        let deflated = block.strip_prefix(b"CK").ok_or("it does not begin with CK")?;
        self.inflate.reset(false);
        self.remember()?;
        let mut taken = 0;
        let mut given = 0;
        loop {
            let (before_in, before_out) = (self.inflate.total_in(), self.inflate.total_out());
            let input = deflated.get(taken..).unwrap_or_default();
            // One more than a block may become, to tell one that becomes more.
            let output = self.output.get_mut(given..).unwrap_or_default();
            let status = self
                .inflate
                .decompress(input, output, FlushDecompress::None)
                .map_err(|error| format!("it is no right deflate stream: {error}"))?;
            let (more_in, more_out) =
                (self.inflate.total_in() - before_in, self.inflate.total_out() - before_out);
            taken += more_in as usize;
            given += more_out as usize;
            match status {
                Status::StreamEnd => break,
                _ if more_in == 0 && more_out == 0 => {
                    return Err("its deflate stream does not end in it".to_owned());
                }
                _ => {}
            }
        }
        if given != size {
            return Err(format!("it becomes {given} bytes, and {size} are stated"));
        }
        let output = self.output.get(..given).unwrap_or_default();
        self.history.extend(output);
        let excess = self.history.len().saturating_sub(WINDOW);
        self.history.drain(..excess);
        Ok(output)
    }

    /// Passes what the blocks before became through the decoder, as a stored block: it has no other way to
    /// take a history.
    fn remember(&mut self) -> Result<(), String> {
        if self.history.is_empty() {
            return Ok(());
        }
        // At most 32 KiB: it fits.
        let size = self.history.len() as u16;
        let [low, high] = size.to_le_bytes();
        let header = [0, low, high, !low, !high];
        let history = self.history.make_contiguous();
        for input in [&header[..], history] {
            let mut taken = 0;
            while taken < input.len() {
                let before = self.inflate.total_in();
                let rest = input.get(taken..).unwrap_or_default();
                let passed = self.inflate.decompress(rest, &mut self.output, FlushDecompress::None);
                let more = (self.inflate.total_in() - before) as usize;
                if passed.is_err() || more == 0 {
                    return Err("what the blocks before became cannot be looked back into".to_owned());
                }
                taken += more;
            }
        }
        Ok(())
    }
}
