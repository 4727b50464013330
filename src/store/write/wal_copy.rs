//! What the WAL has to hold, kept in memory. A WAL that is cut or overwritten while it is open takes along what was
//! committed in it; SQLite goes on without noticing, and moves into the database whatever it finds there.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use crate::store::open_files::OpenFiles;
use crate::store::wal::{self, FRAME_HEADER_BYTES, FrameChain, HEADER_BYTES};

/// How much is read at once for a comparison.
const PIECE_BYTES: usize = 1 << 20;
/// How many frames are read at once: about a piece.
const FRAMES_AT_ONCE: usize = 256;
/// Bytes of a page of our files, while no header of a WAL says another size.
const PAGE_BYTES: usize = 4096;
/// Most pages that are known as written last.
const RECENT_PAGES_MAX: usize = 256;
/// How often SQLite may have started the WAL over between two looks: each time raises its first salt by one.
const RESTARTS_MAX: u32 = 100_000;

/// Length and time of the last write, which only tell that somebody has written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WriteStamp {
    length: u64,
    seconds: i64,
    nanoseconds: i64,
}

impl WriteStamp {
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        Ok(Self { length: metadata.len(), seconds: metadata.mtime(), nanoseconds: metadata.mtime_nsec() })
    }

    pub(crate) fn length(self) -> u64 {
        self.length
    }
}

/// Whether a file holds what it has to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WalContents {
    Whole,
    /// It was cut or overwritten.
    Overwritten,
}

/// See the module. Owned by the writer. Takes as much memory as the WAL has bytes in use, at most `bytes_max`: what is
/// behind that is only guarded by the length of the file and its last frame.
#[derive(Debug)]
pub(crate) struct WalCopy {
    /// SQLite holds no lock on a WAL, so that closing this drops none.
    file: File,
    bytes_max: usize,
    /// The header and the frames behind it.
    bytes: Vec<u8>,
    /// The header of the last frame.
    last: Vec<u8>,
    /// Of the newest header.
    page_bytes: usize,
    /// See [`recent_pages`](Self::recent_pages); the newest is the last.
    recent_pages: VecDeque<u32>,
    /// Frames that are committed.
    frames: u64,
    /// Continues behind the last frame; `None`: there is none.
    chain: Option<FrameChain>,
    /// The first salt of the newest header.
    salt: Option<u32>,
    /// As of the newest look that found it whole; `None`: it is to be looked at.
    stamp: Option<WriteStamp>,
}

impl WalCopy {
    /// Of the WAL at `path`, of which nothing is known yet.
    pub(crate) fn open(path: &Path, bytes_max: usize) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let (bytes, last) = (Vec::new(), Vec::new());
        let page_bytes = PAGE_BYTES;
        let recent_pages = VecDeque::new();
        Ok(Self {
            file,
            bytes_max,
            bytes,
            last,
            page_bytes,
            recent_pages,
            frames: 0,
            chain: None,
            salt: None,
            stamp: None,
        })
    }

    /// Whether nobody has written to the file since it was last found whole, as far as its times tell. A write within
    /// the same tick of the clock shows only in [`compare`](Self::compare).
    pub(crate) fn is_untouched(&self) -> bool {
        self.stamp.is_some() && WriteStamp::of(&self.file).ok() == self.stamp
    }

    /// Whether it is the WAL of these.
    pub(crate) fn is_of(&self, files: &OpenFiles) -> bool {
        files.is_wal(&self.file)
    }

    /// The first salt of the newest header: another one after the WAL has started over.
    pub(crate) fn salt(&self) -> Option<u32> {
        self.salt
    }

    /// Whether the copy has everything that is committed.
    pub(crate) fn is_complete(&self) -> bool {
        self.length_with(self.frames) == self.bytes.len() as u64 || self.frames == 0
    }

    /// The contents of a page that are in the WAL.
    pub(crate) fn pages(&self, number: u32) -> impl Iterator<Item = &[u8]> {
        let frames = self.kept_frames().filter(move |frame| wal::page_number(frame) == number);
        frames.filter_map(|frame| frame.get(FRAME_HEADER_BYTES..))
    }

    /// The numbers of the pages that were written last, each once, at most [`RECENT_PAGES_MAX`]: also of what was in
    /// the WAL before it started over.
    pub(crate) fn recent_pages(&self) -> &VecDeque<u32> {
        &self.recent_pages
    }

    fn add_recent_page(&mut self, number: u32) {
        if self.recent_pages.back() == Some(&number) {
            return;
        }
        self.recent_pages.retain(|recent| *recent != number);
        self.recent_pages.push_back(number);
        if self.recent_pages.len() > RECENT_PAGES_MAX {
            self.recent_pages.pop_front();
        }
    }

    fn kept_frames(&self) -> impl Iterator<Item = &[u8]> {
        let frame_bytes = self.chain.as_ref().map_or(usize::MAX, FrameChain::frame_bytes);
        self.bytes.get(HEADER_BYTES..).unwrap_or_default().chunks_exact(frame_bytes)
    }

    /// Bytes of a page of the database.
    pub(crate) fn page_bytes(&self) -> usize {
        self.page_bytes
    }

    /// Whether the file holds all that is committed, as far as the copy has it.
    pub(crate) fn is_whole(&self) -> bool {
        self.frames == 0 || self.has_same_bytes().unwrap_or(false)
    }

    /// Takes over what SQLite has committed, `frames` in all. To be called after a commit and when somebody else may
    /// have made one. Reads what is new, and little else. Error: the file cannot be read; nothing is known then.
    pub(crate) fn follow(&mut self, frames: u64) -> io::Result<WalContents> {
        let followed = self.take_over(frames);
        self.stamp = match &followed {
            Ok(WalContents::Whole) => WriteStamp::of(&self.file).ok(),
            _ => None,
        };
        followed
    }

    fn take_over(&mut self, frames: u64) -> io::Result<WalContents> {
        if frames == 0 {
            // It starts over with the next commit, and nobody reads what it has now.
            self.clear();
            return Ok(WalContents::Whole);
        }
        let mut header = [0; HEADER_BYTES];
        if !self.read(&mut header, 0)? {
            return Ok(WalContents::Overwritten);
        }
        let known = self.bytes.get(..HEADER_BYTES).is_some_and(|known| known == header);
        if known && frames >= self.frames {
            let mut last = [0; FRAME_HEADER_BYTES];
            let frame_bytes = self.chain.as_ref().map_or(0, FrameChain::frame_bytes) as u64;
            let whole = self.read(&mut last, self.length_with(self.frames).saturating_sub(frame_bytes))?;
            if !whole || last.as_slice() != self.last {
                return Ok(WalContents::Overwritten);
            }
            return self.append(frames);
        }
        let Some(chain) = FrameChain::begin(&header) else { return Ok(WalContents::Overwritten) };
        let restarts = self.salt.map_or(0, |salt| chain.salt().wrapping_sub(salt));
        if restarts > RESTARTS_MAX || known {
            return Ok(WalContents::Overwritten);
        }
        let before = (std::mem::take(&mut self.bytes), std::mem::take(&mut self.last), self.frames, self.chain.take());
        let (salt, page_bytes) = (chain.salt(), chain.frame_bytes() - FRAME_HEADER_BYTES);
        (self.bytes, self.frames, self.chain) = (header.to_vec(), 0, Some(chain));
        let found = self.append(frames);
        match &found {
            Ok(WalContents::Whole) => (self.salt, self.page_bytes) = (Some(salt), page_bytes),
            _ => (self.bytes, self.last, self.frames, self.chain) = before,
        }
        found
    }

    /// Reads the frames behind those that are known. Nothing is taken over unless all of them are as SQLite wrote them.
    fn append(&mut self, frames: u64) -> io::Result<WalContents> {
        let Some(mut chain) = self.chain.clone() else { return Ok(WalContents::Overwritten) };
        let frame_bytes = chain.frame_bytes();
        let (kept, mut new, mut last) = (self.bytes.len(), Vec::new(), self.last.clone());
        let (mut numbers, mut next) = (Vec::new(), self.frames);
        let mut buffer = Vec::new();
        while next < frames {
            let count = usize::try_from(frames - next).unwrap_or(usize::MAX).min(FRAMES_AT_ONCE);
            buffer.resize(count * frame_bytes, 0);
            if !self.read(&mut buffer, self.length_with(next))? {
                return Ok(WalContents::Overwritten);
            }
            for frame in buffer.chunks_exact(frame_bytes) {
                if !chain.follow(frame) {
                    return Ok(WalContents::Overwritten);
                }
                // A gap would make what follows worthless.
                let length = kept + new.len();
                if self.length_with(next) == length as u64 && length + frame.len() <= self.bytes_max {
                    new.extend_from_slice(frame);
                }
                numbers.push(wal::page_number(frame));
                next += 1;
            }
            last = buffer
                .rchunks_exact(frame_bytes)
                .next()
                .and_then(|frame| frame.get(..FRAME_HEADER_BYTES))
                .unwrap_or_default()
                .to_vec();
        }
        self.bytes.append(&mut new);
        numbers.into_iter().for_each(|number| self.add_recent_page(number));
        (self.last, self.frames, self.chain) = (last, frames, Some(chain));
        Ok(WalContents::Whole)
    }

    /// The same as [`follow`](Self::follow), after all that the copy has was compared with the file.
    pub(crate) fn compare(&mut self, frames: u64) -> io::Result<WalContents> {
        let same = frames == 0 || self.has_same_bytes()?;
        let mut header = [0; HEADER_BYTES];
        // What started over is another WAL.
        let started_over = !same
            && self.read(&mut header, 0)?
            && FrameChain::begin(&header).is_some_and(|chain| Some(chain.salt()) != self.salt);
        if same || started_over {
            return self.follow(frames);
        }
        self.stamp = None;
        Ok(WalContents::Overwritten)
    }

    fn has_same_bytes(&self) -> io::Result<bool> {
        let (mut piece, mut offset) = (vec![0; PIECE_BYTES.min(self.bytes.len())], 0);
        for known in self.bytes.chunks(PIECE_BYTES) {
            let Some(piece) = piece.get_mut(..known.len()) else { return Ok(false) };
            if !self.read(piece, offset)? || piece != known {
                return Ok(false);
            }
            offset += known.len() as u64;
        }
        Ok(true)
    }

    /// Whether the file has something that the copy does not explain: more than that its end, or all of it, is missing
    /// or has become zeros.
    pub(crate) fn has_other_bytes(&self) -> io::Result<bool> {
        let length = WriteStamp::of(&self.file)?.length().min(self.length_with(self.frames));
        let (mut piece, mut offset, mut is_cut) = (vec![0; PIECE_BYTES], 0, false);
        for known in self.bytes.chunks(PIECE_BYTES) {
            let left = usize::try_from(length.saturating_sub(offset)).unwrap_or(usize::MAX).min(known.len());
            let (Some(piece), Some(known)) = (piece.get_mut(..left), known.get(..left)) else { return Ok(true) };
            if !self.read(piece, offset)? {
                return Ok(true);
            }
            // A write behind the place where the file was cut leaves zeros between.
            let same =
                if is_cut { 0 } else { piece.iter().zip(known).take_while(|(found, known)| found == known).count() };
            is_cut |= same < left;
            if piece.iter().skip(same).any(|byte| *byte != 0) {
                return Ok(true);
            }
            offset += left as u64;
        }
        Ok(false)
    }

    /// Writes what is committed where it belongs, synced. `frames`: how many SQLite has committed; the last of them may
    /// be new, and are where they belong already. Returns whether the file is whole then.
    pub(crate) fn restore(&mut self, frames: u64) -> io::Result<WalContents> {
        if frames < self.frames {
            return Ok(WalContents::Overwritten);
        }
        self.file.write_all_at(&self.bytes, 0)?;
        self.file.sync_all()?;
        self.compare(frames)
    }

    /// Cuts off what is behind the copy: a transaction that was overwritten while it was committed.
    pub(crate) fn cut_behind(&mut self) -> io::Result<()> {
        self.file.set_len(self.length_with(self.frames))?;
        self.file.sync_all()
    }

    fn clear(&mut self) {
        (self.bytes, self.last, self.frames, self.chain) = (Vec::new(), Vec::new(), 0, None);
    }

    /// Bytes of a WAL with so many frames.
    fn length_with(&self, frames: u64) -> u64 {
        let frame_bytes = self.chain.as_ref().map_or(0, FrameChain::frame_bytes) as u64;
        (HEADER_BYTES as u64).saturating_add(frames.saturating_mul(frame_bytes))
    }

    /// False: the file ends before `buffer` is full.
    fn read(&self, buffer: &mut [u8], offset: u64) -> io::Result<bool> {
        match self.file.read_exact_at(buffer, offset) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(error),
        }
    }
}
