// SPDX-License-Identifier: GPL-2.0-only

//! Access to the files of the machine, below a root directory.

use std::{
    ffi::OsStr,
    fs,
    io::{
        self,
        Write, //
    },
    os::unix::fs::FileTypeExt,
    path::{
        Path,
        PathBuf, //
    }, //
};

/// The files of a machine.
#[derive(Debug)]
pub(crate) struct System {
    root: PathBuf,
}

impl System {
    /// Creates the system below `root`, `/` but in tests.
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.into() }
    }

    /// Returns where the file with this absolute path is.
    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Reads a file as text, without white space at its end.
    pub(crate) fn read(&self, path: &str) -> io::Result<String> {
        let bytes = fs::read(self.path(path))?;

        Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
    }

    /// Reads a file that may not exist, or may have nothing to show at the moment.
    pub(crate) fn value(&self, path: &str) -> Option<String> {
        self.read(path).ok()
    }

    /// Reads a file that may not exist, and whose content is no text.
    pub(crate) fn bytes(&self, path: &str) -> Option<Vec<u8>> {
        fs::read(self.path(path)).ok()
    }

    /// Reads a number from a file that may not exist.
    pub(crate) fn number<T: std::str::FromStr>(&self, path: &str) -> Option<T> {
        self.value(path)?.parse().ok()
    }

    /// Writes `text` with a single system call, as sysfs requires.
    pub(crate) fn write(&self, path: &str, text: &str) -> io::Result<()> {
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .open(self.path(path))?;
        let written = file.write(text.as_bytes())?;

        if written == text.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Returns whether this process may write a file, whatever the file makes of the text.
    pub(crate) fn may_write(&self, path: &str) -> bool {
        let file = fs::OpenOptions::new().write(true).open(self.path(path));

        !file.is_err_and(|e| e.kind() == io::ErrorKind::PermissionDenied)
    }

    /// Adds a line at the end of a file, which need not exist. The line before it may lack its end.
    pub(crate) fn append(&self, path: &str, line: &str) -> io::Result<()> {
        let before = match fs::read(self.path(path)) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        let end = match before.last() {
            None | Some(b'\n') => "",
            Some(_) => "\n",
        };
        let path = self.path(path);

        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory)?;
        }
        let mut file = fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)?;

        file.write_all(format!("{end}{line}").as_bytes())
    }

    /// Returns whether a file or directory exists.
    pub(crate) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// Returns the names in a directory in natural order; none if there is no such directory.
    pub(crate) fn names(&self, path: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(path)).into_iter().flatten();
        let mut names: Vec<String> = entries
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
            .collect();

        names.sort_by_cached_key(|name| natural_key(name));
        names
    }

    /// Returns the last component of what a link points at.
    pub(crate) fn link(&self, path: &str) -> Option<String> {
        let target = fs::read_link(self.path(path)).ok()?;

        target.file_name().map(lossy)
    }

    /// Returns the last component of a path once all links are followed.
    pub(crate) fn resolve(&self, path: &str) -> Option<String> {
        let target = fs::canonicalize(self.path(path)).ok()?;

        target.file_name().map(lossy)
    }

    /// Returns whether `path` is a block device.
    pub(crate) fn is_block_device(&self, path: &str) -> bool {
        fs::metadata(self.path(path)).is_ok_and(|file| file.file_type().is_block_device())
    }
}

fn lossy(name: &OsStr) -> String {
    name.to_string_lossy().into_owned()
}

/// Returns a key that sorts `rnbd2` before `rnbd10`.
fn natural_key(name: &str) -> (String, u64, String) {
    let digits = name.len() - name.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    let (stem, number) = name.split_at(name.len() - digits);

    (stem.into(), number.parse().unwrap_or(0), name.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_as_numbers() {
        let mut names = ["rnbd10", "rnbd2", "a", "rnbd", "rnbd9"];

        names.sort_by_key(|name| natural_key(name));
        assert_eq!(names, ["a", "rnbd", "rnbd2", "rnbd9", "rnbd10"]);
    }
}
