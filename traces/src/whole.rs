//! Files that appear whole or not at all.
//!
//! ```text
//! .NAME.PROCESS.half ─▶ bytes ─▶ flushed to the disk ─▶ renamed to NAME ─▶ the directory flushed
//! ```
//! Guarantees:
//! 1. Under the file's name stands what stood there before, or all of the new bytes: also after a kill, a full disk
//!    or a loss of power at any moment.
//! 2. What is left of a write that failed is removed; after a kill it is a hidden file that nothing reads.
//! 3. A name that is no regular file (`/dev/null`, a pipe) is written through, never replaced; of a link, the file
//!    that it leads to is replaced.
//!
//! Not modelled: two programs that write the same name: the later one's file stays.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// Files under way, for [`abandon`].
static UNDER_WAY: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// A file under way: it has its name after [`finish`](Self::finish), and is removed when dropped before.
#[derive(Debug)]
pub struct Half {
    out: BufWriter<File>,
    path: PathBuf,
    /// Where the bytes are; nothing where they go straight to a device.
    beside: Option<PathBuf>,
}

impl Half {
    /// Begins a file.
    ///
    /// # Errors
    /// Those of the file system: no such directory, no permission to write in it or to the file.
    pub fn create(path: &Path) -> io::Result<Self> {
        let there = fs::metadata(path);
        // Of a link, the file it leads to.
        let path = match &there {
            Ok(_) => fs::canonicalize(path)?,
            Err(_) => path.to_owned(),
        };
        if let Ok(there) = &there {
            let permitted = OpenOptions::new().write(true).open(&path)?;
            if !there.is_file() {
                return Ok(Self::begun(permitted, path, None));
            }
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidFilename)?;
        let name = format!(".{}.{}.half", name.to_string_lossy(), std::process::id());
        let beside = path.with_file_name(name);
        under_way(|files| files.insert(beside.clone()));
        let made = File::create(&beside).and_then(|file| match &there {
            Ok(there) => file.set_permissions(there.permissions()).map(|()| file),
            Err(_) => Ok(file),
        });
        let made = made.inspect_err(|_| {
            under_way(|files| files.remove(&beside));
        });
        Ok(Self::begun(made?, path, Some(beside)))
    }

    fn begun(file: File, path: PathBuf, beside: Option<PathBuf>) -> Self {
        Self {
            out: BufWriter::with_capacity(1 << 20, file),
            path,
            beside,
        }
    }

    /// Everything is on the disk, under its name, when this returns.
    ///
    /// # Errors
    /// Those of the file system, a full disk among them.
    pub fn finish(mut self) -> io::Result<()> {
        self.out.flush()?;
        let Some(beside) = &self.beside else {
            return Ok(());
        };
        self.out.get_ref().sync_all()?;
        fs::rename(beside, &self.path)?;
        let directory = self
            .path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
        under_way(|files| files.remove(beside));
        self.beside = None;
        Ok(())
    }
}

impl Write for Half {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl Drop for Half {
    fn drop(&mut self) {
        if let Some(beside) = &self.beside {
            under_way(|files| files.remove(beside));
            // Nobody is told when even that fails: the first error says more.
            let _ = fs::remove_file(beside);
        }
    }
}

fn under_way<T>(with: impl FnOnce(&mut BTreeSet<PathBuf>) -> T) -> T {
    with(&mut UNDER_WAY.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Removes the files under way, for a process that ends at once.
pub fn abandon() {
    under_way(|files| {
        for file in files.iter() {
            // It may be renamed already: then it is whole.
            let _ = fs::remove_file(file);
        }
    });
}

/// Writes a file; what stood under its name stays until all bytes are on the disk.
///
/// # Errors
/// Those of the file system.
pub fn write(path: &Path, bytes: impl AsRef<[u8]>) -> io::Result<()> {
    write_with(path, |out| out.write_all(bytes.as_ref()))
}

/// Writes a file with what `fill` puts out.
///
/// # Errors
/// Those of the file system and of `fill`.
pub fn write_with(path: &Path, fill: impl FnOnce(&mut Half) -> io::Result<()>) -> io::Result<()> {
    let mut half = Half::create(path)?;
    fill(&mut half)?;
    half.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(directory: &Path) -> Vec<String> {
        let entries = fs::read_dir(directory).unwrap();
        let mut names: Vec<String> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_old_until_it_is_whole() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.txt");
        write(&path, "old").unwrap();
        let mut half = Half::create(&path).unwrap();
        half.write_all(b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        half.finish().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(names(here.path()), ["a.txt"]);
    }

    #[test]
    fn what_fails_leaves_nothing_and_keeps_the_old() {
        let here = tempfile::tempdir().unwrap();
        let path = here.path().join("a.txt");
        write(&path, "old").unwrap();
        let failed = write_with(&path, |out| {
            out.write_all(b"half")?;
            Err(io::ErrorKind::StorageFull.into())
        });
        assert_eq!(failed.unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(names(here.path()), ["a.txt"]);
    }

    #[test]
    fn devices_and_links_stay_what_they_are() {
        write(Path::new("/dev/null"), "gone").unwrap();
        assert!(!fs::metadata("/dev/null").unwrap().is_file());
        let full = write(Path::new("/dev/full"), "too much");
        assert_eq!(full.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let here = tempfile::tempdir().unwrap();
        let (file, link) = (here.path().join("file"), here.path().join("link"));
        write(&file, "old").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        write(&link, "new").unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read(&file).unwrap(), b"new");
    }
}
