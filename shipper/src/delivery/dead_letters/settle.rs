//! Takes out of the segments what a replay has delivered. What Loki has refused again stays, with its new
//! words, and so does what nobody can read; a segment of which nothing stays is removed.
//!
//! Each segment is replaced as a whole, under its own number: letters keep their order, and a crash leaves
//! the old file or the new one. A journal speaks of the old one only.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use super::Reason;
use super::folder;
use super::journal::{Identity, Pushed, Verdict, Verdicts};
use super::letter::{Letter, Unreadable};
use super::reader::{Place, Reader};
use crate::files;

/// Settles all segments that the verdicts speak of.
///
/// # Errors
/// When one can't be read or replaced; those before it are settled.
pub fn settle(dir: &Path, verdicts: &Verdicts) -> io::Result<()> {
    for segment in &verdicts.segments {
        let from = (segment.number, 0);
        let touched = verdicts.letters.range(from..=(segment.number, u64::MAX)).next().is_some();
        if touched || segment.bytes == 0 {
            settle_segment(dir, segment, verdicts)?;
        }
    }
    files::sync(dir)
}

fn settle_segment(dir: &Path, segment: &Identity, verdicts: &Verdicts) -> io::Result<()> {
    let (path, beside) = (folder::path(dir, segment.number), beside(dir, segment.number));
    // What a settling left that was killed, also where the segment is gone since.
    files::remove(&beside)?;
    let file = match files::open(&path) {
        // The shipper has made room meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        file => file?,
    };
    // A writer locks its segment before it writes: only an empty one may just be beginning.
    let is_same = identity(segment.number, &file)? == *segment;
    if !is_same || (segment.bytes == 0 && !files::lock_now(&file)?) {
        return Ok(());
    }
    let mut new = BufWriter::new(files::create(&beside)?);
    let kept = copy_rest(&file, segment.number, verdicts, &mut new);
    let finished = kept.and_then(|kept| {
        new.flush()?;
        new.get_ref().sync_all()?;
        Ok(kept)
    });
    match finished {
        Ok(true) if path.exists() => std::fs::rename(&beside, &path),
        Ok(true) => files::remove(&beside),
        Ok(false) => files::remove(&path).and_then(|()| files::remove(&beside)),
        Err(error) => {
            // So that a full disk is not made fuller.
            drop(files::remove(&beside));
            Err(error)
        }
    }
}

/// Whether anything stays.
fn copy_rest(file: &File, number: u64, verdicts: &Verdicts, new: &mut impl Write) -> io::Result<bool> {
    let mut reader = Reader::new(BufReader::new(file));
    let mut kept = false;
    while let Some((place, letter)) = reader.read_next()? {
        match (verdicts.letters.get(&(number, place.offset)), letter) {
            (Some(Verdict::Accepted), Ok(_)) | (_, Err(Unreadable::Torn)) => continue,
            (Some(Verdict::Refused(pushed)), Ok(letter)) => {
                new.write_all(refused_again(letter, pushed).to_line()?.as_bytes())?;
            }
            (_, Ok(_) | Err(_)) => copy(file, place, new)?,
        }
        kept = true;
    }
    Ok(kept)
}

fn refused_again(mut letter: Letter, pushed: &Pushed) -> Letter {
    let answer = pushed.status.zip(pushed.answer.as_deref());
    letter.refused_again(Reason { reason: &pushed.reason, answer }, (pushed.attempts, pushed.now_ns));
    letter
}

fn copy(file: &File, place: Place, new: &mut impl Write) -> io::Result<()> {
    let (mut at, end) = (place.offset, place.offset + place.bytes);
    let mut buffer = vec![0; 64 << 10];
    while at < end {
        let room = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let Some(part) = buffer.get_mut(..room) else { break };
        match file.read_at(part, at) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => {
                new.write_all(part.get(..read).unwrap_or_default())?;
                at += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Which file this is.
///
/// # Errors
/// When that can't be told.
pub fn identity(number: u64, file: &File) -> io::Result<Identity> {
    let metadata = file.metadata()?;
    Ok(Identity { number, ino: metadata.ino(), bytes: metadata.len() })
}

/// The name is none of a segment.
fn beside(dir: &Path, number: u64) -> PathBuf {
    folder::path(dir, number).with_extension("new")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::tests::group;
    use std::sync::Arc;

    /// A segment with these lines, and where each of them begins.
    fn write(dir: &Path, lines: &[(i64, &str)]) -> (Identity, Vec<u64>) {
        let group = group(lines);
        let why = Reason { reason: "refused", answer: None };
        let (mut text, mut offsets) = (String::new(), Vec::new());
        for entry in &group.entries {
            offsets.push(text.len() as u64);
            text += &Letter::of(&group, entry, None, why).unwrap().to_line().unwrap();
        }
        let path = folder::path(dir, 1);
        std::fs::write(&path, text).unwrap();
        (identity(1, &files::open(&path).unwrap()).unwrap(), offsets)
    }

    fn texts(dir: &Path) -> Vec<(String, u32)> {
        let mut reader = Reader::new(BufReader::new(files::open(&folder::path(dir, 1)).unwrap()));
        let mut texts = Vec::new();
        while let Some((_, letter)) = reader.read_next().unwrap() {
            let letter = letter.unwrap();
            texts.push((letter.line, letter.attempts));
        }
        texts
    }

    /// A crash between the last rename and the removal of the journal.
    #[test]
    fn a_journal_that_is_settled_twice_takes_nothing_twice() {
        let dir = tempfile::tempdir().unwrap();
        // All letters are of the same length: what is left has the offsets of what was taken out.
        let (segment, offsets) = write(dir.path(), &[(7, "a"), (7, "b"), (7, "c"), (7, "d")]);
        let refused = Arc::new(Pushed { reason: "refused".to_owned(), attempts: 3, ..Pushed::default() });
        let letters = [((1, offsets[0]), Verdict::Accepted), ((1, offsets[2]), Verdict::Refused(refused))]
            .into_iter()
            .collect();
        let verdicts = Verdicts { segments: vec![segment], letters };
        for _ in 0..2 {
            settle(dir.path(), &verdicts).unwrap();
            assert_eq!(texts(dir.path()), [("b".to_owned(), 0), ("c".to_owned(), 3), ("d".to_owned(), 0)]);
        }
    }

    /// Killed between the removal of a segment of which nothing stays and that of the file beside it.
    #[test]
    fn what_a_killed_settling_left_beside_a_segment_that_is_gone_goes_too() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, offsets) = write(dir.path(), &[(7, "a")]);
        std::fs::remove_file(folder::path(dir.path(), 1)).unwrap();
        std::fs::write(beside(dir.path(), 1), "").unwrap();
        let letters = [((1, offsets[0]), Verdict::Accepted)].into_iter().collect();
        settle(dir.path(), &Verdicts { segments: vec![segment], letters }).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_segment_that_the_shipper_has_removed_does_not_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let (segment, offsets) = write(dir.path(), &[(7, "a"), (7, "b")]);
        std::fs::remove_file(folder::path(dir.path(), 1)).unwrap();
        let letters = [((1, offsets[0]), Verdict::Accepted)].into_iter().collect();
        settle(dir.path(), &Verdicts { segments: vec![segment], letters }).unwrap();
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
