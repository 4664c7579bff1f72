//! A tree of `{product}/{version}/{file}` in the order of the whole names.
//!
//! The order is that of S3, byte by byte of the whole key. A directory is compared with its slash: `a-b/…` comes
//! before `a/…`, as `-` comes before `/`.

use std::{
    fs::{self, DirEntry},
    io,
    ops::ControlFlow,
    path::Path,
};

use super::files::absent_is_fine;

/// The parts of a key.
const DEPTH: usize = 3;

/// Called with a name below the base, and its file.
pub(super) type Visit<'a> = dyn FnMut(&str, &DirEntry) -> io::Result<ControlFlow<()>> + 'a;

/// Visits the files whose name comes after `after`, in order, until told to stop.
pub(super) fn files(base: &Path, after: &str, visit: &mut Visit<'_>) -> io::Result<()> {
    level(base, "", DEPTH, after, visit).map(|_stopped| ())
}

fn level(
    directory: &Path,
    prefix: &str,
    depth: usize,
    after: &str,
    visit: &mut Visit<'_>,
) -> io::Result<ControlFlow<()>> {
    // Deletions prune directories while we walk.
    let Some(entries) = absent_is_fine(fs::read_dir(directory))? else {
        return Ok(ControlFlow::Continue(()));
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry?;
        let is_directory = depth > 1;
        if absent_is_fine(entry.file_type())?.is_none_or(|kind| kind.is_dir() != is_directory) {
            continue;
        }
        // A name that is not UTF-8 is none of ours.
        if let Ok(name) = entry.file_name().into_string() {
            let name = if is_directory { format!("{prefix}{name}/") } else { format!("{prefix}{name}") };
            names.push((name, entry));
        }
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    for (name, entry) in names {
        let flow = if depth == 1 {
            if name.as_str() <= after {
                continue;
            }
            visit(&name, &entry)?
        } else {
            // All below it starts with its name, so it comes before `after` unless that is below it too.
            if name.as_str() < after && !after.starts_with(&name) {
                continue;
            }
            level(&entry.path(), &name, depth - 1, after, visit)?
        };
        if flow.is_break() {
            return Ok(flow);
        }
    }
    Ok(ControlFlow::Continue(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_is_that_of_the_whole_names_and_goes_on_after_any_of_them() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let mut wanted = Vec::new();
        for product in ["a", "a-b", "a.c", "ab"] {
            for version in ["1.0.0", "1.0.0-rc.1", "1.0.10"] {
                for file in ["f", "f.bin", "g"] {
                    let name = format!("{product}/{version}/{file}");
                    fs::create_dir_all(directory.path().join(product).join(version)).expect("made");
                    fs::write(directory.path().join(&name), "").expect("written");
                    wanted.push(name);
                }
            }
        }
        wanted.sort();
        for start in 0..=wanted.len() {
            let after = start.checked_sub(1).map_or("", |last| wanted[last].as_str());
            let mut found = Vec::new();
            files(directory.path(), after, &mut |name, _| {
                found.push(name.to_owned());
                Ok(ControlFlow::Continue(()))
            })
            .expect("listed");
            assert_eq!(found, wanted[start..]);
        }
    }
}
