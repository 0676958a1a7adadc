//! What is known of topics, kept in files from one run to the next: one file per (cluster, topic)
//! below `catalog/` in the state directory. Owns their bytes and paths. A file that is damaged, of
//! another version or of another topic is none, never an error: the topic is read anew (ADR 11).

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::CatalogCache;
use super::known::Known;

/// Changes with every change of the bytes: older files are read anew from the topic.
const MAGIC: &[u8; 16] = b"deltakeep-cat 01";
/// Largest file that is read, bytes.
const LIMIT: usize = 512 << 20;

/// The file of one topic.
#[derive(Clone, Debug)]
pub struct CacheFile {
    path: PathBuf,
    of: String,
    writes: bool,
}

impl CacheFile {
    /// The file of `topic` on the cluster of this id.
    pub fn new(state_dir: &Path, cluster: &str, topic: &str) -> Self {
        let of = format!("{}:{cluster}{topic}", cluster.len());
        let safe = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let name: String = topic.chars().map(safe).take(60).collect();
        let tail: String = Sha256::digest(&of)[..8].iter().map(|b| format!("{b:02x}")).collect();
        let path = state_dir.join("catalog").join(format!("{name}.{tail}"));
        Self { path, of, writes: true }
    }

    /// The same for a command that changes nothing: it is read, and never written.
    #[must_use]
    pub fn only_read(self) -> Self {
        Self { writes: false, ..self }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn digest(&self, content: &[u8]) -> [u8; 32] {
        Sha256::new()
            .chain_update(MAGIC)
            .chain_update(&self.of)
            .chain_update(content)
            .finalize()
            .into()
    }
}

fn config() -> impl bincode::config::Config {
    bincode::config::standard().with_limit::<LIMIT>()
}

impl CatalogCache for CacheFile {
    fn load(&self) -> Option<Known> {
        let bytes = fs::read(&self.path).ok().filter(|bytes| bytes.len() <= LIMIT)?;
        let (digest, content) = bytes.strip_prefix(MAGIC)?.split_first_chunk::<32>()?;
        if *digest != self.digest(content) {
            tracing::debug!("{} is damaged or of another topic", self.path.display());
            return None;
        }
        let (known, read) = bincode::serde::decode_from_slice(content, config()).ok()?;
        (read == content.len()).then_some(known)
    }

    fn store(&self, known: &Known) -> io::Result<()> {
        if !self.writes {
            return Ok(());
        }
        let content = bincode::serde::encode_to_vec(known, config()).map_err(io::Error::other)?;
        let bytes = [&MAGIC[..], &self.digest(&content), &content].concat();
        if let Some(folder) = self.path.parent() {
            fs::create_dir_all(folder)?;
        }
        // Readers see the old file or the new one. A power loss may leave a torn one: its digest
        // tells.
        let young = self.path.with_extension(format!("young-{}", std::process::id()));
        let written = fs::write(&young, bytes).and_then(|()| fs::rename(&young, &self.path));
        written.inspect_err(|_| drop(fs::remove_file(&young)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::TopicState;
    use crate::model::Offset;

    fn known(end: i64) -> Known {
        let ranges = vec![(Offset(0), Offset(end)); 3];
        let mut known = Known::nothing(&TopicState { ranges, settings: Default::default() });
        assert!(known.read_to(&[Offset(end); 3]));
        known
    }

    #[test]
    fn what_was_stored_is_loaded_by_the_same_topic_only() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CacheFile::new(folder.path(), "c", "a/b");
        assert_eq!(file.load(), None);
        file.store(&known(1)).expect("stored");
        file.store(&known(2)).expect("stored");
        assert_eq!(file.load(), Some(known(2)));
        assert_eq!(fs::read_dir(file.path().parent().expect("a folder")).expect("it").count(), 1);
        for (cluster, topic) in [("c", "a_b"), ("ca", "/b"), ("d", "a/b")] {
            let other = CacheFile::new(folder.path(), cluster, topic);
            assert_ne!(other.path(), file.path());
            fs::copy(file.path(), other.path()).expect("copied");
            assert_eq!(other.load(), None, "{cluster} {topic}");
        }
    }

    #[test]
    fn who_only_reads_writes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CacheFile::new(folder.path(), "c", "t").only_read();
        file.store(&known(1)).expect("as good as stored");
        assert!(!file.path().exists());
    }

    #[test]
    fn any_damage_makes_it_none() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = CacheFile::new(folder.path(), "c", "t");
        file.store(&known(7)).expect("stored");
        let whole = fs::read(file.path()).expect("read");
        for at in 0..whole.len() {
            fs::write(file.path(), &whole[..at]).expect("cut");
            assert_eq!(file.load(), None, "cut to {at}");
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(file.path(), flipped).expect("flipped");
            assert_eq!(file.load(), None, "flipped at {at}");
        }
        fs::write(file.path(), [&whole[..], b"more"].concat()).expect("grown");
        assert_eq!(file.load(), None);
        fs::remove_file(file.path()).expect("removed");
        fs::create_dir(file.path()).expect("a folder in its place");
        assert_eq!(file.load(), None);
        assert!(file.store(&known(8)).is_err());
    }
}
