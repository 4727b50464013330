//! A file that is being sent.

use std::fs::File;
use std::future::{Ready, ready};
use std::io::{self, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncSeek, ReadBuf};
use tokio_util::sync::ReusableBoxFuture;
use tower_http::services::fs::File as BackendFile;

use super::metadata::FileMetadata;
use super::operations::FileOperations;

/// Bytes that are read at once.
const PIECE_BYTES: usize = 64 * 1024;

/// An open file, read piece by piece. It is sent as it was when it was opened: when it is changed since, reading fails,
/// which breaks the connection off, so that no client takes a mixture for the whole. One that is replaced by another
/// stays what it was.
pub(super) struct OpenFile {
    file: Arc<File>,
    metadata: FileMetadata,
    operations: FileOperations,
    offset: u64,
    /// The piece at `offset`, if it is known.
    piece: Vec<u8>,
    reading: Option<ReusableBoxFuture<'static, io::Result<Vec<u8>>>>,
}

impl OpenFile {
    /// Reads the first piece too: of most files it is the whole.
    pub(super) fn new(file: File, metadata: FileMetadata, operations: FileOperations) -> io::Result<Self> {
        let piece = read_unchanged(&file, 0, piece_length(metadata, 0), metadata)?;
        Ok(Self { file: Arc::new(file), metadata, operations, offset: 0, piece, reading: None })
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let (offset, metadata) = (self.offset, self.metadata);
        let length = piece_length(metadata, offset);
        while self.piece.is_empty() && length > 0 {
            let reading = self.reading.get_or_insert_with(|| {
                let (file, operations) = (Arc::clone(&self.file), self.operations.clone());
                ReusableBoxFuture::new(async move {
                    operations.run(move || read_unchanged(&file, offset, length, metadata)).await
                })
            });
            let piece = std::task::ready!(reading.poll(cx));
            self.reading = None;
            self.piece = piece?;
        }
        Poll::Ready(Ok(()))
    }
}

fn piece_length(metadata: FileMetadata, offset: u64) -> usize {
    usize::try_from(metadata.len.saturating_sub(offset)).unwrap_or(PIECE_BYTES).min(PIECE_BYTES)
}

/// `length` bytes from `offset` on. Error: the file is not what it was when it had `metadata`.
pub(super) fn read_unchanged(file: &File, offset: u64, length: usize, metadata: FileMetadata) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, offset)?;
    if FileMetadata::new(&file.metadata()?).is_unwritten_since(&metadata) {
        Ok(bytes)
    } else {
        Err(io::Error::other("the file was changed while it was read"))
    }
}

impl AsyncRead for OpenFile {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_piece(cx))?;
        let taken = self.piece.len().min(buf.remaining());
        let rest = self.piece.split_off(taken);
        buf.put_slice(&std::mem::replace(&mut self.piece, rest));
        self.offset += taken as u64;
        Poll::Ready(Ok(()))
    }
}

impl AsyncSeek for OpenFile {
    fn start_seek(mut self: Pin<&mut Self>, position: SeekFrom) -> io::Result<()> {
        let SeekFrom::Start(offset) = position else { return Err(io::ErrorKind::Unsupported.into()) };
        let skipped = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let keeps = offset >= self.offset && skipped < self.piece.len();
        self.piece = if keeps { self.piece.split_off(skipped) } else { Vec::new() };
        self.reading = None;
        self.offset = offset;
        Ok(())
    }

    fn poll_complete(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<u64>> {
        Poll::Ready(Ok(self.offset))
    }
}

impl BackendFile for OpenFile {
    type Metadata = FileMetadata;
    type MetadataFuture<'a> = Ready<io::Result<FileMetadata>>;

    fn metadata(&self) -> Self::MetadataFuture<'_> {
        ready(Ok(self.metadata))
    }
}
