//! The WAL as a file. SQLite stops reading at the first frame that does not verify and says nothing: what lies behind
//! is lost. Whether something does is found here, before SQLite opens it.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

pub(crate) const HEADER_BYTES: usize = 32;
pub(crate) const FRAME_HEADER_BYTES: usize = 24;
/// The magic number of a WAL whose checksums are over little-endian words; the last bit set: big-endian.
const MAGIC: u32 = 0x377F_0682;
/// What is assumed when the header is damaged: the size that our files have.
const PAGE_BYTES: usize = 4096;

/// A frame that does not verify, with frames behind it that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WalDamage {
    /// Where it begins; 0: the header of the WAL.
    pub offset: u64,
    /// Frames behind it that SQLite does not read.
    pub frames_lost: u64,
}

/// The path of the WAL of a database.
pub(crate) fn path_of(database: &Path) -> PathBuf {
    let mut wal = database.as_os_str().to_owned();
    wal.push("-wal");
    wal.into()
}

/// Whether there is a WAL that can hold a frame.
pub(crate) fn has_content(wal: &Path) -> bool {
    let bytes = std::fs::metadata(wal).map_or(0, |metadata| metadata.len());
    bytes > u64::try_from(HEADER_BYTES).unwrap_or(0)
}

/// Reads all frames. `None`: there is no damage. Frames of an earlier generation of the WAL and an incomplete last
/// frame are none.
pub(crate) fn find_damage(wal: &Path) -> io::Result<Option<WalDamage>> {
    let mut file = match File::open(wal) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut header = [0; HEADER_BYTES];
    if !read_whole(&mut file, &mut header)? {
        return Ok(None);
    }
    let mut scan = Scan::new(&header);
    let mut frame = vec![0; FRAME_HEADER_BYTES + scan.page_bytes];
    while read_whole(&mut file, &mut frame)? {
        scan.frame(&frame);
    }
    Ok(scan.damage.filter(|damage| damage.frames_lost > 0))
}

/// False: the file ends before `buffer` is full.
fn read_whole(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

struct Scan {
    big_endian: bool,
    page_bytes: usize,
    /// The salts of the WAL's present content; `None`: the header is damaged.
    salts: Option<(u32, u32)>,
    /// The checksum that the frame before says it has.
    checksum: (u32, u32),
    offset: u64,
    /// The first frame that does not verify, and how many behind it follow from their predecessors.
    damage: Option<WalDamage>,
}

impl Scan {
    fn new(header: &[u8; HEADER_BYTES]) -> Self {
        let magic = word(header, 0);
        let big_endian = magic == MAGIC | 1;
        let size = usize::try_from(word(header, 8)).unwrap_or(0);
        let page_bytes = if size.is_power_of_two() && (512..=65_536).contains(&size) { size } else { PAGE_BYTES };
        let checksum = (word(header, 24), word(header, 28));
        let (summed, _) = header.split_at(24);
        let intact = magic & !1 == MAGIC && sum((0, 0), summed, big_endian) == checksum;
        let salts = (word(header, 16), word(header, 20));
        let damage = (!intact).then_some(WalDamage { offset: 0, frames_lost: 0 });
        let offset = u64::try_from(HEADER_BYTES).unwrap_or(0);
        Self { big_endian, page_bytes, salts: intact.then_some(salts), checksum, offset, damage }
    }

    /// The checksum of a frame continues that of its predecessor. Behind a damaged frame, a frame is verified against
    /// the checksum that its predecessor states.
    fn frame(&mut self, frame: &[u8]) {
        let (head, page) = frame.split_at(FRAME_HEADER_BYTES);
        let (summed, _) = head.split_at(8);
        let stated = (word(head, 16), word(head, 20));
        let computed = sum(sum(self.checksum, summed, self.big_endian), page, self.big_endian);
        // Other salts: an earlier generation of the WAL.
        let present = self.salts.is_none_or(|salts| salts == (word(head, 8), word(head, 12)));
        let sound = present && computed == stated;
        match &mut self.damage {
            None if sound => {}
            None => self.damage = Some(WalDamage { offset: self.offset, frames_lost: 0 }),
            Some(damage) => damage.frames_lost += u64::from(sound),
        }
        self.checksum = stated;
        self.offset += u64::try_from(frame.len()).unwrap_or(0);
    }
}

/// The checksums of frames, each of which continues that of its predecessor.
#[derive(Clone, Debug)]
pub(crate) struct FrameChain {
    big_endian: bool,
    page_bytes: usize,
    salts: (u32, u32),
    /// That of the last frame.
    checksum: (u32, u32),
}

impl FrameChain {
    /// At the first frame. `None`: the header does not verify.
    pub(crate) fn begin(header: &[u8; HEADER_BYTES]) -> Option<Self> {
        let Scan { big_endian, page_bytes, salts, checksum, .. } = Scan::new(header);
        salts.map(|salts| Self { big_endian, page_bytes, salts, checksum })
    }

    /// The first salt: one more each time SQLite starts the WAL over.
    pub(crate) fn salt(&self) -> u32 {
        self.salts.0
    }

    /// Bytes of a frame with its header.
    pub(crate) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.page_bytes
    }

    /// Whether `frame` is the next one.
    pub(crate) fn follow(&mut self, frame: &[u8]) -> bool {
        let Some((head, page)) = frame.split_at_checked(FRAME_HEADER_BYTES) else { return false };
        let (summed, _) = head.split_at(8);
        let computed = sum(sum(self.checksum, summed, self.big_endian), page, self.big_endian);
        let follows = self.salts == (word(head, 8), word(head, 12)) && computed == (word(head, 16), word(head, 20));
        if follows {
            self.checksum = computed;
        }
        follows
    }
}

/// The page that a frame holds.
pub(crate) fn page_number(frame: &[u8]) -> u32 {
    word(frame, 0)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    if let Some(found) = bytes.get(at..at + 4) {
        word.copy_from_slice(found);
    }
    u32::from_be_bytes(word)
}

/// SQLite's checksum over pairs of words, going on from `start`.
fn sum(start: (u32, u32), bytes: &[u8], big_endian: bool) -> (u32, u32) {
    let read = if big_endian { u32::from_be_bytes } else { u32::from_le_bytes };
    let (pairs, _) = bytes.as_chunks::<8>();
    pairs.iter().fold(start, |(first, second), [a, b, c, d, e, f, g, h]| {
        let first = first.wrapping_add(read([*a, *b, *c, *d])).wrapping_add(second);
        (first, second.wrapping_add(read([*e, *f, *g, *h])).wrapping_add(first))
    })
}
