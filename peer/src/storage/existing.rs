//! Is what already has the final name the object that is to be fetched?

use std::io;
use std::path::{Path, PathBuf};

use protocol::{Digest, Manifest, PieceSpan};
use reactor::FileStamp;

use super::fs::{Advice, Folder, FsFile, Open};
use super::layout::Layout;
use super::part::read_full;
use super::tree::{differences, join};

/// What a comparison found.
pub(super) enum Existing {
    /// The same bytes under the same names. Rights are not compared.
    Same {
        /// Of the layout's files, in order, from before they were read.
        stamps: Vec<FileStamp>,
    },
    /// Something else, and how it differs in words.
    Differs(String),
}

/// Compares what is at `top` with the wanted part of an object: names and lengths first, then every
/// piece, up to the first difference.
///
/// # Errors
/// When something can't be read, with the path of it.
pub(super) fn compare(
    root: &dyn Folder,
    top: &Path,
    layout: &Layout,
    manifest: &Manifest,
) -> Result<Existing, (PathBuf, io::Error)> {
    let names = differences(root, top, layout).map_err(|cause| (top.to_owned(), cause))?;
    if let Some(extra) = names.extra {
        let what = if extra.as_os_str().is_empty() {
            format!("it is not a {}", if layout.single { "file" } else { "folder" })
        } else {
            format!("'{}' is not in the object, or not of that kind", extra.display())
        };
        return Ok(Existing::Differs(what));
    }
    if let Some(missing) = names.missing {
        return Ok(Existing::Differs(format!("'{}' is missing", missing.display())));
    }
    let mut stamps = Vec::with_capacity(layout.files.len());
    for file in &layout.files {
        let path = join(top, &file.path);
        let stamp = root.meta(&path).map_err(|cause| (path, cause))?.stamp;
        if stamp.len != file.len {
            let what = format!("{} has {} bytes, not {}", name(file), stamp.len, file.len);
            return Ok(Existing::Differs(what));
        }
        stamps.push(stamp);
    }
    let mut buffer = Vec::new();
    for file in &layout.files {
        let path = join(top, &file.path);
        let wrong = first_wrong_piece(root, &path, file.index, manifest, &mut buffer)
            .map_err(|cause| (path, cause))?;
        if let Some(at) = wrong {
            let what = format!("the piece of {} at byte {at} differs", name(file));
            return Ok(Existing::Differs(what));
        }
    }
    Ok(Existing::Same { stamps })
}

/// Whether a file holds the bytes of a piece. `buffer` is reused from call to call.
///
/// # Errors
/// When the disk fails.
pub(super) fn holds_piece(
    file: &dyn FsFile,
    span: PieceSpan,
    expected: Digest,
    buffer: &mut Vec<u8>,
) -> io::Result<bool> {
    buffer.resize(span.len as usize, 0);
    let read = read_full(file, buffer, span.offset)?;
    Ok(read == buffer.len() && Digest::of(buffer) == expected)
}

fn first_wrong_piece(
    root: &dyn Folder,
    path: &Path,
    index: usize,
    manifest: &Manifest,
    buffer: &mut Vec<u8>,
) -> io::Result<Option<u64>> {
    let mut pieces = manifest.geometry().pieces_of(index).peekable();
    if pieces.peek().is_none() {
        return Ok(None);
    }
    let file = root.open(path, Open::Read)?;
    file.advise(Advice::Sequential);
    for piece in pieces {
        let span = manifest.geometry().span(piece);
        if !holds_piece(&*file, span, manifest.piece_hash(piece), buffer)? {
            return Ok(Some(span.offset));
        }
    }
    Ok(None)
}

fn name(file: &super::layout::WantedFile) -> String {
    if file.path.as_os_str().is_empty() {
        "it".to_owned()
    } else {
        format!("'{}'", file.path.display())
    }
}
